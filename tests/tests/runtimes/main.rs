//! Programs that bring their own TLS library, most of them stripped: each is run as it is installed, under `llmtap run`, against the
//! mock on loopback. Calls made and spans seen must agree in every field, from the first call on.
//!
//! `cargo xtask test runtimes` fetches the programs and takes the network away: nothing here may talk to anybody else.

mod go;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use tests::harness::{Bench, clients, finish, untraceable, workspace};

/// One row of the matrix.
struct Program<'a> {
    /// The folder in `target/runtimes`, and the executable in it.
    executable: &'a str,
    /// A copy that was never examined is started by a shell.
    cold: bool,
    arguments: &'static [&'static str],
    /// Calls that it makes at least.
    calls: usize,
    /// Puts what the program wants into its home.
    settle: fn(&Bench, &Path) -> anyhow::Result<()>,
}

fn run(program: &Program<'_>) -> anyhow::Result<()> {
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
    if program.cold {
        let copy = bench.path("program");
        fs::copy(&executable, &copy)?;
        line = ["/bin/sh", "-c", "\"$0\" \"$@\"; exit $?"].map(str::to_owned).into();
        line.push(copy.display().to_string());
    }
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
        "DENO_NO_UPDATE_CHECK",
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

/// Its own provider, as the documentation of Codex's `config.toml` says.
fn codex_settings(bench: &Bench, home: &Path) -> anyhow::Result<()> {
    let folder = home.join(".codex");
    fs::create_dir_all(&folder)?;
    let url = bench.mock.url();
    let settings = format!(
        r#"
model = "gpt-5"
model_provider = "mock"
check_for_update_on_startup = false
analytics.enabled = false

[model_providers.mock]
name = "mock"
base_url = "{url}/v1"
env_key = "OPENAI_API_KEY"
wire_api = "responses"
"#
    );
    Ok(fs::write(folder.join("config.toml"), settings)?)
}

#[test]
fn bun_fetch() -> anyhow::Result<()> {
    let arguments = &["CLIENTS/fetch.mjs"];
    run(&Program { executable: "bun/bin/bun", cold: false, arguments, calls: 24, settle: nothing })
}

/// It takes longer to find the functions in it than the program takes to its first call.
#[test]
fn bun_fetch_started_by_a_shell_for_the_first_time() -> anyhow::Result<()> {
    let arguments = &["CLIENTS/fetch.mjs"];
    run(&Program { executable: "bun/bin/bun", cold: true, arguments, calls: 24, settle: nothing })
}

/// A release of other build settings: an argument less in error reports, and the copy inside `SSL_read` conditional.
#[test]
fn older_bun_fetch() -> anyhow::Result<()> {
    let arguments = &["CLIENTS/fetch.mjs"];
    run(&Program { executable: "bun-older/bin/bun", cold: false, arguments, calls: 24, settle: nothing })
}

#[test]
fn claude_code_answers_one_prompt() -> anyhow::Result<()> {
    let arguments = &["-p", "hello", "--model", "claude-sonnet-4-5"];
    run(&Program { executable: "claude-code/claude", cold: false, arguments, calls: 1, settle: nothing })
}

#[test]
fn opencode_answers_one_prompt() -> anyhow::Result<()> {
    let arguments = &["run", "hello"];
    run(&Program { executable: "opencode/bin/opencode", cold: false, arguments, calls: 1, settle: opencode_settings })
}

#[test]
fn codex_answers_one_prompt() -> anyhow::Result<()> {
    let executable = "codex/vendor/x86_64-unknown-linux-musl/bin/codex";
    let arguments = &["exec", "--skip-git-repo-check", "hello"];
    run(&Program { executable, cold: false, arguments, calls: 1, settle: codex_settings })
}

/// A release that makes its calls by an OpenSSL without symbols; it also holds a rustls.
#[test]
fn older_codex_answers_one_prompt() -> anyhow::Result<()> {
    let executable = "codex-older/vendor/x86_64-unknown-linux-musl/codex/codex";
    let arguments = &["exec", "--skip-git-repo-check", "hello"];
    run(&Program { executable, cold: false, arguments, calls: 1, settle: codex_settings })
}

#[test]
fn deno_fetch() -> anyhow::Result<()> {
    let arguments = &["run", "--allow-all", "CLIENTS/fetch.mjs"];
    run(&Program { executable: "deno/deno", cold: false, arguments, calls: 24, settle: nothing })
}

/// Over connections of their own, and all over one.
fn rust_client(executable: &'static str) -> anyhow::Result<()> {
    for arguments in [&[][..], &["http2"], &["tls12"]] {
        run(&Program { executable, cold: false, arguments, calls: 24, settle: nothing })?;
    }
    Ok(())
}

#[test]
fn rust_with_ring() -> anyhow::Result<()> {
    rust_client("rustls-ring/client")
}

#[test]
fn rust_with_aws_lc() -> anyhow::Result<()> {
    rust_client("rustls-aws-lc-rs/client")
}

/// Over many connections, with either version of TLS.
#[test]
fn rust_with_older_rustls() -> anyhow::Result<()> {
    for executable in ["rustls-0.20/client", "rustls-0.21/client", "rustls-0.22/client"] {
        for arguments in [&[][..], &["tls12"]] {
            run(&Program { executable, cold: false, arguments, calls: 28, settle: nothing })?;
        }
    }
    Ok(())
}

/// Rust with the machine's libssl.
#[test]
fn native_tls() -> anyhow::Result<()> {
    run(&Program { executable: "native-tls/client", cold: false, arguments: &[], calls: 28, settle: nothing })
}

/// Rust with an OpenSSL of its own, stripped.
#[test]
fn native_tls_vendored() -> anyhow::Result<()> {
    let executable = "native-tls-vendored/client";
    run(&Program { executable, cold: false, arguments: &[], calls: 28, settle: nothing })
}

/// The same for musl: one static file.
#[test]
fn native_tls_vendored_for_musl() -> anyhow::Result<()> {
    run(&Program { executable: "native-tls-musl/client", cold: false, arguments: &[], calls: 28, settle: nothing })
}

/// CPython with OpenSSL in its executable, with symbols and without.
#[test]
fn standalone_python() -> anyhow::Result<()> {
    for name in ["python3-symbols", "python3"] {
        let executable = format!("python-standalone/usr/bin/{name}");
        let arguments = &["CLIENTS/sockets.py", "keep_alive", "threads"];
        run(&Program { executable: &executable, cold: false, arguments, calls: 212, settle: nothing })?;
    }
    Ok(())
}

/// .NET's HttpClient, which loads libssl itself.
#[test]
fn dotnet() -> anyhow::Result<()> {
    run(&Program { executable: "dotnet/client", cold: false, arguments: &[], calls: 28, settle: nothing })
}

/// A program in C with libssl beside it, both for musl.
#[test]
fn libssl_for_musl() -> anyhow::Result<()> {
    run(&Program { executable: "musl/client", cold: false, arguments: &[], calls: 10, settle: nothing })
}
