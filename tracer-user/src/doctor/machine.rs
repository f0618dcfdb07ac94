//! What the kernel and our privileges allow.

use std::fs;

use serde::Serialize;

use crate::capture::{
    Options, Tracer, gate, process,
    seam::{Capability, missing},
};

/// The kernel and the privileges of this process.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub kernel: String,
    #[serde(skip)]
    pub version: (u32, u32),
    pub architecture: &'static str,
    /// All checks hold: tracing works here.
    pub ready: bool,
    /// How probes are attached: `session`, `multi` or `perf`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attach_mode: Option<String>,
    pub checks: Vec<Check>,
}

/// One condition of tracing.
#[derive(Debug, Serialize)]
pub struct Check {
    pub name: &'static str,
    /// A short stable name of what is wrong; absent when nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    pub ok: bool,
    /// Whether nothing is traced without it.
    pub needed: bool,
    pub found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Machine {
    /// Looks, and tries to load the programs; nothing is attached.
    pub fn examine() -> Self {
        let kernel = kernel();
        let mut checks =
            vec![architecture(), kernel_version(&kernel), btf(), capabilities(), lockdown(), pid_namespace()];
        let mut attach_mode = None;
        let loaded = Tracer::load(&Options { ring_bytes: 1 << 16, ..Options::default() });
        let (found, fix) = match &loaded {
            Ok(tracer) => {
                attach_mode = Some(format!("{:?}", tracer.attach_mode()).to_lowercase());
                ("load", None)
            }
            Err(error) => ("do not load", Some(error.to_string())),
        };
        checks.push(Check::new("eBPF programs", "programs_refused", found, fix));
        checks.push(held_starts());
        let ready = checks.iter().all(|check| check.ok || !check.needed);
        Self { version: version(&kernel), kernel, architecture: std::env::consts::ARCH, ready, attach_mode, checks }
    }
}

impl Check {
    /// Something that is needed; `fix` is there if it is missing.
    fn new(name: &'static str, reason: &'static str, found: impl Into<String>, fix: Option<String>) -> Self {
        let ok = fix.is_none();
        Self { name, reason: (!ok).then_some(reason), ok, needed: true, found: found.into(), fix }
    }
}

/// Its release, as `6.18.5`.
pub fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// The first two numbers of a release.
pub fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn architecture() -> Check {
    let other = !cfg!(target_arch = "x86_64");
    let fix = other.then(|| "trace on an x86-64 machine; replay of recordings works here".into());
    Check::new("architecture", "architecture", std::env::consts::ARCH, fix)
}

fn kernel_version(release: &str) -> Check {
    let old = version(release) < (5, 8);
    let fix = old.then(|| "llmtap needs Linux 5.8 or later (BPF ring buffer)".into());
    Check::new("kernel", "kernel_old", release, fix)
}

fn btf() -> Check {
    let ok = fs::metadata("/sys/kernel/btf/vmlinux").is_ok();
    let fix = (!ok).then(|| "use a kernel built with CONFIG_DEBUG_INFO_BTF=y (5.8 or later)".into());
    Check::new("BTF", "no_btf", if ok { "/sys/kernel/btf/vmlinux" } else { "missing" }, fix)
}

/// In its strictest form it keeps eBPF from reading memory (kernel_lockdown(7)).
fn lockdown() -> Check {
    let modes = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let mode = modes.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("none", |(mode, _)| mode);
    let fix = (mode == "confidentiality").then(|| "boot with lockdown=integrity, or without lockdown".into());
    Check::new("lockdown", "lockdown", mode, fix)
}

/// Inside another PID namespace the kernel's numbers of processes are not those of /proc.
fn pid_namespace() -> Check {
    let own = process::in_first_pid_namespace();
    let fix = (!own).then(|| "start llmtap in the host's PID namespace: --pid=host, or hostPID: true".into());
    Check::new("PID namespace", "pid_namespace", if own { "the host's" } else { "another" }, fix)
}

/// Without it only what begins within some milliseconds of a program's start can be missed.
fn held_starts() -> Check {
    let fix = gate::check().err().map(|error| {
        format!(
            "{error}: needs CAP_SYS_ADMIN and CONFIG_FANOTIFY_ACCESS_PERMISSIONS=y; very short programs may be missed"
        )
    });
    let found = if fix.is_none() { "held until hooks stand" } else { "not held" };
    Check { needed: false, ..Check::new("program starts", "starts_not_held", found, fix) }
}

fn capabilities() -> Check {
    let missing = missing();
    let told = |one: &Capability| format!("{} ({})", one.name, one.purpose);
    let all: Vec<String> = missing.iter().map(told).collect();
    let fix = missing.iter().any(|one| one.needed).then(|| "run as root, for example with sudo".into());
    let found = if all.is_empty() { "sufficient".into() } else { format!("missing {}", all.join(", ")) };
    Check::new("privileges", "privileges", found, fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (release, ok) in
            [("5.10.0-28-amd64", true), ("6.1.0", true), ("5.8", true), ("5.4.0-1", false), ("4.19.3", false)]
        {
            assert_eq!(kernel_version(release).ok, ok, "{release}");
        }
    }
}
