//! The matrix of runtimes that a machine has or gets from light packages: each program as it is installed, from its first
//! call on. One row of a table each; calls and spans must agree in every field. `runtimes` has the heavy ones.

use std::{collections::BTreeSet, process::Command};

use anyhow::ensure;
use tests::{
    environment::{self, Python},
    harness::{clients, workspace},
};

use crate::bench;

/// Traces a command line that ends with `done`, and prints its row: what it is, its TLS libraries, calls, exact ones.
fn row(what: &str, line: &[String], least: usize) -> anyhow::Result<()> {
    let bench = bench!();
    let finished = bench.run_traced(&[], line)?;
    ensure!(finished.stdout.ends_with("done\n"), "{}\n{}", finished.stdout, finished.stderr);
    let report = bench.expect_exact(least)?;
    let spans = bench.spans()?;
    let libraries: BTreeSet<&str> = spans.iter().filter_map(|span| span.text("llmtap.tls.library")).collect();
    let libraries = Vec::from_iter(libraries).join(", ");
    println!("| {what} | {libraries} | {} calls | {} exact | the first one, too |", report.calls, report.exact);
    Ok(())
}

/// Whether the command succeeds; says `skipped` if it does not.
pub fn has(program: &str, arguments: &[&str], package: &str) -> bool {
    let succeeds = Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success());
    if !succeeds {
        println!("skipped: `{program} {}` fails (Debian: {package})", arguments.join(" "));
    }
    succeeds
}

pub fn line(program: &str, script: &str, arguments: &[&str]) -> Vec<String> {
    let mut line = vec![program.to_owned(), clients().join(script).display().to_string()];
    line.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    line
}

#[test]
fn curl_with_openssl() -> anyhow::Result<()> {
    row("curl", &line("/bin/sh", "curl.sh", &[]), 26)
}

#[test]
fn wget_with_gnutls() -> anyhow::Result<()> {
    if !has("wget", &["--version"], "wget") {
        return Ok(());
    }
    row("wget", &line("/bin/sh", "wget.sh", &[]), 13)
}

#[test]
fn libcurl_with_gnutls() -> anyhow::Result<()> {
    let load = "import ctypes; ctypes.CDLL('libcurl-gnutls.so.4')";
    if !has("python3", &["-c", load], "libcurl3-gnutls") {
        return Ok(());
    }
    row("libcurl-gnutls", &line("python3", "libcurl_gnutls.py", &["keep_alive", "at_once=20"]), 31)
}

#[test]
fn ruby() -> anyhow::Result<()> {
    if !has("ruby", &["-rnet/http", "-rjson", "-ropenssl", "-e", "0"], "ruby") {
        return Ok(());
    }
    row("Ruby, net/http, threads and fibers", &line("ruby", "runtimes/ruby.rb", &[]), 30)
}

#[test]
fn php() -> anyhow::Result<()> {
    if !has(
        "php",
        &["-r", "exit(extension_loaded('curl') && extension_loaded('openssl') ? 0 : 1);"],
        "php-cli php-curl",
    ) {
        return Ok(());
    }
    row("PHP, curl and streams", &line("php", "runtimes/php.php", &[]), 32)
}

#[test]
fn perl() -> anyhow::Result<()> {
    if !has("perl", &["-MHTTP::Tiny", "-MJSON::PP", "-MIO::Socket::SSL", "-e", "0"], "libio-socket-ssl-perl") {
        return Ok(());
    }
    row("Perl, IO::Socket::SSL", &line("perl", "runtimes/perl.pl", &[]), 15)
}

/// The system's Python, beside the one that makes the virtual environments.
#[test]
fn system_python() -> anyhow::Result<()> {
    if !has("/usr/bin/python3", &["-c", "import ssl"], "python3") {
        return Ok(());
    }
    row("/usr/bin/python3, http.client", &line("/usr/bin/python3", "sockets.py", &["keep_alive", "threads"]), 212)
}

#[test]
fn wheel_that_bundles_libssl() -> anyhow::Result<()> {
    let python = Python::Wheels.prepared()?.display().to_string();
    row("pycurl's wheel", &line(&python, "runtimes/wheels.py", &["pycurl"]), 10)
}

#[test]
fn wheel_with_boringssl_inside() -> anyhow::Result<()> {
    let python = Python::Wheels.prepared()?.display().to_string();
    row("curl_cffi's wheel", &line(&python, "runtimes/wheels.py", &["curl_cffi"]), 10)
}

#[test]
fn wheel_with_openssl_inside() -> anyhow::Result<()> {
    let python = Python::PyOpenSsl.prepared()?.display().to_string();
    row("urllib3 on pyOpenSSL's wheel", &line(&python, "runtimes/wheels.py", &["pyopenssl"]), 10)
}

#[test]
fn every_node() -> anyhow::Result<()> {
    for release in ["20", "22", "24", "26"] {
        let node = workspace().join(format!("target/fixtures/node-{release}/bin/node"));
        if node.exists() {
            row(&format!("Node.js {release}, fetch"), &line(&node.display().to_string(), "fetch.mjs", &[]), 24)?;
        } else {
            println!("no Node.js {release} in target/fixtures; `cargo xtask fixture` fetches it");
        }
    }
    // Said once for the test: at least one must have been there.
    environment::node().map(drop)
}

/// A program whose TLS cannot be hooked: nothing is traced, and the closing words say why.
fn refused(what: &str, line: &[String], why: &str) -> anyhow::Result<()> {
    let bench = bench!();
    let finished = bench.run_traced(&["--output", "pretty"], line)?;
    ensure!(finished.stdout.ends_with("done\n"), "{}\n{}", finished.stdout, finished.stderr);
    ensure!(!bench.truth().is_empty(), "no call was made");
    ensure!(finished.stderr.contains("No model call was seen"), "{}", finished.stderr);
    ensure!(finished.stderr.contains(why), "not `{why}`: {}", finished.stderr);
    println!("| {what} | – | {} calls | not traced: {why} | – |", bench.truth().len());
    Ok(())
}

#[test]
fn java_is_named() -> anyhow::Result<()> {
    if !has("java", &["--list-modules"], "default-jdk-headless") {
        return Ok(());
    }
    refused("Java, java.net.http", &line("java", "runtimes/Client.java", &[]), "is a Java virtual machine")
}

#[test]
fn erlang_is_named() -> anyhow::Result<()> {
    if !has("erl", &["-noshell", "-eval", "{ok, _} = application:ensure_all_started(ssl), halt()."], "erlang-ssl") {
        return Ok(());
    }
    refused("Erlang, httpc", &line("escript", "runtimes/client.erl", &[]), "is the Erlang virtual machine")
}
