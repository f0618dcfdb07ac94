//! Programs that bring their own TLS library, most of them stripped: each is run as it is installed, under `llmtap run`, against the
//! mock on loopback. Calls made and spans seen must agree in every field, from the first call on.
//!
//! `cargo xtask test runtimes` fetches the programs and takes the network away: nothing here may talk to anybody else.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use tests::harness::{Bench, clients, finish, untraceable, workspace};

/// One row of the matrix.
struct Program {
    /// The folder in `target/runtimes`, and the executable in it.
    executable: &'static str,
    arguments: &'static [&'static str],
    /// Calls that it makes at least.
    calls: usize,
    /// Puts what the program wants into its home.
    settle: fn(&Bench, &Path) -> anyhow::Result<()>,
}

fn run(program: &Program) -> anyhow::Result<()> {
    if let Some(why) = untraceable().or_else(networked) {
        println!("skipped: {why}");
        return Ok(());
    }
    let executable = workspace().join("target/runtimes").join(program.executable);
    if !executable.exists() {
        println!("skipped: no {}; `cargo xtask test runtimes` fetches it", executable.display());
        return Ok(());
    }
    let bench = Bench::new()?;
    let home = bench.path("home");
    fs::create_dir(&home)?;
    (program.settle)(&bench, &home)?;
    let mut line = vec![executable.display().to_string()];
    line.extend(program.arguments.iter().map(|argument| argument.replace("CLIENTS", &clients().display().to_string())));
    let mut command = bench.traced(&["-v"], &line)?;
    let finished = finish(quiet(&mut command).env("HOME", &home).current_dir(&home))?;
    ensure!(finished.status.success(), "{}\n{}\n{}", finished.status, finished.stdout, finished.stderr);
    let report = bench.expect_exact(program.calls).with_context(|| finished.stderr.clone())?;
    print!("{}: {report}", program.executable);
    Ok(())
}

/// Why this is no place for programs that would like to talk to their makers: there is a network.
fn networked() -> Option<String> {
    let devices = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let names = devices.lines().skip(2).filter_map(|line| line.split(':').next());
    let other = names.map(str::trim).find(|name| *name != "lo")?;
    Some(format!("there is a network ({other}); `cargo xtask test runtimes` takes it away"))
}

/// Their documented ways of keeping to themselves.
fn quiet(command: &mut Command) -> &mut Command {
    for name in [
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "DISABLE_AUTOUPDATER",
        "DISABLE_ERROR_REPORTING",
        "DISABLE_TELEMETRY",
        "DO_NOT_TRACK",
        "OPENCODE_DISABLE_AUTOUPDATE",
        "OPENCODE_DISABLE_LSP_DOWNLOAD",
        "OPENCODE_DISABLE_MODELS_FETCH",
    ] {
        command.env(name, "1");
    }
    command
}

fn nothing(_: &Bench, _: &Path) -> anyhow::Result<()> {
    Ok(())
}

fn opencode_settings(bench: &Bench, home: &Path) -> anyhow::Result<()> {
    let folder: PathBuf = home.join(".config/opencode");
    fs::create_dir_all(&folder)?;
    let settings = serde_json::json!({
        "autoupdate": false,
        "share": "disabled",
        "model": "mock/gpt-5",
        "small_model": "mock/gpt-5",
        "enabled_providers": ["mock"],
        "provider": {
            "mock": {
                "npm": "@ai-sdk/openai-compatible",
                "options": { "baseURL": format!("{}/v1", bench.mock.url()), "apiKey": tests::harness::SECRET },
                "models": { "gpt-5": {} },
            },
        },
    });
    Ok(fs::write(folder.join("opencode.json"), settings.to_string())?)
}

#[test]
fn bun_fetch() -> anyhow::Result<()> {
    let arguments = &["CLIENTS/fetch.mjs"];
    run(&Program { executable: "bun/bin/bun", arguments, calls: 24, settle: nothing })
}

/// A release of other build settings: an argument less in error reports, and the copy inside `SSL_read` conditional.
#[test]
fn older_bun_fetch() -> anyhow::Result<()> {
    let arguments = &["CLIENTS/fetch.mjs"];
    run(&Program { executable: "bun-older/bin/bun", arguments, calls: 24, settle: nothing })
}

#[test]
fn claude_code_answers_one_prompt() -> anyhow::Result<()> {
    let arguments = &["-p", "hello", "--model", "claude-sonnet-4-5"];
    run(&Program { executable: "claude-code/claude", arguments, calls: 1, settle: nothing })
}

#[test]
fn opencode_answers_one_prompt() -> anyhow::Result<()> {
    let arguments = &["run", "hello"];
    run(&Program { executable: "opencode/bin/opencode", arguments, calls: 1, settle: opencode_settings })
}

/// Rust with the machine's libssl.
#[test]
fn native_tls() -> anyhow::Result<()> {
    run(&Program { executable: "native-tls/client", arguments: &[], calls: 28, settle: nothing })
}

/// OpenSSL compiled into the executable, as standalone and Conda builds of interpreters have it.
#[test]
fn openssl_inside() -> anyhow::Result<()> {
    run(&Program { executable: "native-tls-static/client", arguments: &[], calls: 28, settle: nothing })
}

/// The same, static and with musl.
#[test]
fn openssl_inside_with_musl() -> anyhow::Result<()> {
    run(&Program { executable: "native-tls-musl/client", arguments: &[], calls: 28, settle: nothing })
}
