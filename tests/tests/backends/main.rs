//! Real back ends on loopback: Debian's Prometheus reads `/metrics` and answers the dashboards, Arize Phoenix takes
//! spans.
//!
//! `cargo xtask test backends` fetches both, takes the network away and runs them. What could not be had is skipped.

mod phoenix;
mod prometheus;

use std::{net::TcpListener, process::Command};

use anyhow::ensure;
use serde_json::Value;
use tests::harness::finish;

/// `curl`, which must succeed; its arguments end with the URL.
fn curl(arguments: &[&str]) -> anyhow::Result<Value> {
    let curl = ["--silent", "--show-error", "--fail-with-body", "--noproxy", "*", "--max-time", "30"];
    let done = finish(Command::new("curl").args(curl).args(arguments))?;
    ensure!(done.status.success(), "{}{}", done.stderr, done.stdout);
    Ok(serde_json::from_str(&done.stdout)?)
}

/// A port that was free a moment ago.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
