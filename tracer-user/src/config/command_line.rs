//! The command line, as docs/ and `--help` tell it.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use globset::{Glob, GlobMatcher};
use serde::Deserialize;

use super::values::parse_duration;
use crate::{
    capture::program::AttachMode,
    content::{Capture, To},
};

#[derive(Debug, Parser)]
#[command(
    name = "llmtap",
    version,
    about = "Traces the LLM calls of unmodified programs: model, tokens, time to first token, cost",
    after_help = "Try it:\n  sudo llmtap run -- python3 agent.py     trace a program of yours\n  sudo llmtap doctor                      what this \
                  machine allows, and what each process uses",
    max_term_width = 110
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// More diagnostics on stderr; repeat for more
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// How diagnostics are written
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true)]
    pub log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a program and trace it and all its descendants
    #[command(
        after_help = "Exit status: CMD's own (128+n when signal n ended it); 125 when llmtap itself failed, 126 when \
                            CMD cannot be executed, 127 when it is not found."
    )]
    Run(Run),
    /// Trace programs that already run, until Ctrl-C
    Trace(Trace),
    /// Read a capture file as if it happened now: no privileges, the same output every time
    Replay(Replay),
    /// Trace for good, as the node's agent: everything from a YAML file; SIGHUP reads it again
    Daemon(Daemon),
    /// Say what this machine and each process allow
    Doctor(Doctor),
    /// Print a completion script for a shell
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub shared: Shared,
    #[command(flatten)]
    pub live: Live,
    /// Write calls at once, although CMD shares the terminal
    #[arg(long = "live")]
    pub at_once: bool,
    /// Under sudo: keep root for CMD instead of the user who called sudo
    #[arg(long)]
    pub as_root: bool,
    /// The program and its arguments, after `--`
    #[arg(trailing_var_arg = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub struct Trace {
    #[command(flatten)]
    pub shared: Shared,
    #[command(flatten)]
    pub live: Live,
    #[command(flatten)]
    pub select: Select,
    /// Leave out what matches: pid=N, comm=GLOB, exe=GLOB or cgroup=PATH
    #[arg(long, value_name = "SELECTOR", value_parser = Exclude::parse)]
    pub exclude: Vec<Exclude>,
    /// Stop after this time: 30s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Select {
    /// A process and its descendants
    #[arg(long, value_name = "N")]
    pub pid: Vec<u32>,
    /// All processes of a cgroup and its subtree (a path, or its part below the mount)
    #[arg(long, value_name = "PATH")]
    pub cgroup: Vec<PathBuf>,
    /// Processes whose command name matches
    #[arg(long, value_name = "GLOB", value_parser = parse_glob)]
    pub comm: Vec<GlobMatcher>,
    /// Processes whose executable's path matches
    #[arg(long, value_name = "GLOB", value_parser = parse_glob)]
    pub exe: Vec<GlobMatcher>,
    /// Every process
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct Replay {
    #[command(flatten)]
    pub shared: Shared,
    /// The capture file; `-` reads standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(Debug, Args)]
pub struct Daemon {
    /// The configuration; an example with every key is installed as /etc/llmtap/config.yaml
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Only say whether the file is valid, and end: status 0 or 2
    #[arg(long)]
    pub check: bool,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Only this process
    #[arg(long, value_name = "N")]
    pub pid: Option<u32>,
    /// One JSON document instead of tables
    #[arg(long)]
    pub json: bool,
    /// Also hook the processes for this long and count what passes: 5s
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub watch: Option<Duration>,
}

/// Options of every command that gives telemetry.
#[derive(Debug, Args)]
pub struct Shared {
    /// What to write: a line a call with a tree and a total, OTLP/JSON, or nothing
    #[arg(long, value_enum, default_value_t = Output::Pretty)]
    pub output: Output,
    /// Where to write it [default: stdout; for run stderr, after CMD has ended if it shares the terminal]
    #[arg(short, long, value_name = "FILE")]
    pub output_file: Option<PathBuf>,
    /// Export spans and metrics by OTLP to this endpoint [else the standard OTEL_EXPORTER_OTLP_* variables]
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// Serve metrics to Prometheus at http://ADDR/metrics, 127.0.0.1:9464 for instance, for as long as llmtap runs
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub metrics_listen: Option<String>,
    /// Also write a capture file, for `llmtap replay` (`.zst` compresses)
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Prompts and answers in telemetry
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Capture::None)]
    pub capture_content: Capture,
    /// Where contents are told: on the span of the call, as an event of its own (OTLP logs), or both
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = To::Spans)]
    pub content_to: To,
    /// Name the provider behind a host of your own, a gateway for instance (repeatable): HOST[:PORT]=NAME
    #[arg(long, value_name = "HOST=NAME", env = "LLMTAP_PROVIDERS", value_delimiter = ',', value_parser = parse_provider)]
    pub provider: Vec<(String, String)>,
    /// Also tell the calls that traced processes answer, as model servers and gateways do
    #[arg(long)]
    pub server_side: bool,
    /// Own prices over the built-in table (llmtap's format, or LiteLLM's JSON)
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
}

/// Options of live tracing.
#[derive(Debug, Args)]
pub struct Live {
    /// Memory between the kernel and llmtap, MiB, a power of two
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = parse_ring)]
    pub ring: u32,
    /// Also plaintext HTTP to these ports (11434, 8000, …: local inference servers). Off by default: with it, each send
    /// and receive on any socket of the machine takes 0.2 µs more. Not seen: Unix-domain sockets, io_uring
    #[arg(long, value_name = "PORT", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    pub plaintext: Vec<u16>,
    /// Attach by perf events although the kernel has uprobe_multi
    #[arg(long, hide = true)]
    pub perf_uprobes: bool,
}

impl Live {
    /// The way of attaching that is asked for.
    pub fn mode(&self) -> Option<AttachMode> {
        self.perf_uprobes.then_some(AttachMode::Perf)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Pretty,
    Jsonl,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// What `--exclude` names.
#[derive(Debug, Clone)]
pub enum Exclude {
    Pid(u32),
    Comm(GlobMatcher),
    Exe(GlobMatcher),
    Cgroup(PathBuf),
}

impl Exclude {
    fn parse(text: &str) -> Result<Self, String> {
        let usage = "use pid=N, comm=GLOB, exe=GLOB or cgroup=PATH";
        let (kind, value) = text.split_once('=').ok_or(usage)?;
        match kind {
            "pid" => value.parse().map(Self::Pid).map_err(|_| format!("`{value}` is not a PID")),
            "comm" => parse_glob(value).map(Self::Comm),
            "exe" => parse_glob(value).map(Self::Exe),
            "cgroup" => Ok(Self::Cgroup(value.into())),
            _ => Err(usage.into()),
        }
    }
}

/// The host in lower case, with or without port, and the name.
fn parse_provider(text: &str) -> Result<(String, String), String> {
    let usage = "use HOST=NAME or HOST:PORT=NAME";
    let (host, name) = text.split_once('=').ok_or(usage)?;
    let (host, name) = (host.trim(), name.trim());
    let is_name =
        |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
    match is_name(host) && is_name(name) {
        true => Ok((host.to_ascii_lowercase(), name.to_owned())),
        false => Err(usage.into()),
    }
}

fn parse_glob(text: &str) -> Result<GlobMatcher, String> {
    Glob::new(text).map(|glob| glob.compile_matcher()).map_err(|error| error.kind().to_string())
}

/// `host:port`; which addresses the host has is found out when it is bound.
fn parse_address(text: &str) -> Result<String, String> {
    let usage = "use HOST:PORT, as in 127.0.0.1:9464 or [::]:9464";
    let (host, port) = text.rsplit_once(':').ok_or(usage)?;
    let is_host = !host.is_empty() && (host.starts_with('[') == host.ends_with(']')) && !host.contains('/');
    match is_host && port.parse::<u16>().is_ok() {
        true => Ok(text.to_owned()),
        false => Err(usage.into()),
    }
}

fn parse_ring(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(mib) if mib.is_power_of_two() && mib <= 1024 => Ok(mib),
        _ => Err("a power of two from 1 to 1024".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_command_of_run_keeps_its_own_options() {
        let cli =
            Cli::try_parse_from(["llmtap", "run", "--output", "none", "--", "prog", "--output", "x", "-v"]).unwrap();
        let Command::Run(run) = cli.command else { panic!("not run") };
        assert_eq!(run.command, ["prog", "--output", "x", "-v"].map(OsString::from));
        assert_eq!((run.shared.output, cli.verbose), (Output::None, 0));
    }

    #[test]
    fn values_are_checked() {
        for arguments in [
            &["trace"][..],
            &["trace", "--pid", "x"],
            &["trace", "--all", "--exclude", "name=x"],
            &["trace", "--all", "--duration", "5 parsecs"],
            &["replay", "--provider", "llm.corp.example", "f"],
            &["replay", "--provider", "https://llm.corp.example=corp", "f"],
            &["run", "--ring", "3", "--", "true"],
            &["run", "--metrics-listen", "9464", "--", "true"],
            &["replay", "--metrics-listen", "http://localhost:9464/metrics", "f"],
            &["run"],
            &["daemon"],
            &["daemon", "--check"],
        ] {
            assert!(Cli::try_parse_from([&["llmtap"], arguments].concat()).is_err(), "{arguments:?}");
        }
    }
}
