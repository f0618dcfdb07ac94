//! Chores of the project: `cargo xtask help` says each in one line.

mod bench;
mod corpus;
mod dashboards;
mod demo;
mod dist;
mod fixture;
mod fuzz;
mod prices;
mod registry;
mod setup;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Chores of the llmtap project", disable_help_subcommand = false)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Prepare what a build needs: checks the toolchain, builds bpf-linker into target/tools
    Setup,
    /// Trace real programs against a mock provider and compare the trace with what it sent
    Demo,
    /// Run every test tier and say how many tests of each ran
    Test {
        /// Only these tiers: unit, data, kernel, e2e, files; and those that run only when named, as root: runtimes, which
        /// downloads some 1.5 GB of programs, backends (some 700 MB), containers, and deploy (a static build)
        tiers: Vec<String>,
    },
    /// Measure what llmtap costs, each figure beside a baseline of the same run
    Bench {
        /// Only these parts: hooks, attach, client, replay, memory, capacity
        parts: Vec<String>,
    },
    /// Replay a folder of recordings and compare every span with what is expected of it
    Corpus(corpus::Arguments),
    /// Make what a release consists of in target/dist-out, the same bytes from the same commit; docs/operations.md says
    /// how to install it
    Dist {
        /// Only these parts: manifests (by kustomize or kubectl), binaries (archives for x86-64 and aarch64), image (the
        /// folder to build it from), deb (by dpkg-deb)
        parts: Vec<String>,
    },
    /// Download what tests take: real libssl and Node.js builds (target/fixtures)
    Fixture {
        /// libssl, and runtimes: the programs of `test runtimes` (target/runtimes), some 1.5 GB; without a name libssl
        sets: Vec<String>,
    },
    /// Fuzz the decoders
    Fuzz {
        /// Only these targets
        targets: Vec<String>,
        /// Seconds for each
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Make docs/telemetry.md anew from docs/registry.yaml
    Registry,
    /// Make dashboards, alert rules and their runbook anew from deploy/pictures.yaml
    Dashboards,
    /// Make the built-in price table anew from published price lists
    Prices {
        /// A folder with the downloaded packages, instead of a download
        #[arg(long)]
        wheels: Option<std::path::PathBuf>,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Setup => setup::run(),
        Task::Demo => setup::run().and_then(|()| demo::run()),
        Task::Bench { parts } => setup::run().and_then(|()| bench::run(&parts)),
        Task::Corpus(arguments) => setup::run().and_then(|()| corpus::run(arguments)),
        Task::Dist { parts } => setup::run().and_then(|()| dist::run(&parts)),
        Task::Fixture { sets } => fixture::named(&sets),
        Task::Test { tiers } => setup::run().and_then(|()| test::run(&tiers)),
        Task::Fuzz { targets, seconds } => setup::run().and_then(|()| fuzz::run(&targets, seconds)),
        Task::Registry => registry::run(),
        Task::Dashboards => dashboards::run(),
        Task::Prices { wheels } => prices::run(wheels),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
