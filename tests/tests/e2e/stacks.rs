//! TLS stacks other than OpenSSL, by programs that Debian links with them.

use std::process::Command;

use crate::{bench, clients::exact};

/// Whether the program starts; says `skipped` if it does not.
fn has(program: &str) -> bool {
    let starts = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !starts {
        println!("skipped: {program} is not installed");
    }
    starts
}

#[test]
fn wget_with_gnutls() -> anyhow::Result<()> {
    let bench = bench!();
    if has("wget") {
        print!("wget: {}", exact(&bench, "wget.sh", &[], 13)?);
    }
    Ok(())
}

#[test]
fn libcurl_with_gnutls() -> anyhow::Result<()> {
    let bench = bench!();
    let load = ["-c", "import ctypes; ctypes.CDLL('libcurl-gnutls.so.4')"];
    if !Command::new("python3").args(load).output().is_ok_and(|output| output.status.success()) {
        println!("skipped: libcurl-gnutls is not installed (Debian: libcurl3-gnutls)");
        return Ok(());
    }
    let report = exact(&bench, "libcurl_gnutls.py", &["keep_alive", "at_once=20"], 31)?;
    print!("libcurl-gnutls, keep-alive and 20 at once: {report}");
    Ok(())
}
