//! What the kernel and our privileges allow.

use std::fs;

use serde::Serialize;

use crate::capture::{Options, Tracer};

/// The kernel and the privileges of this process.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub kernel: String,
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
    pub ok: bool,
    pub found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// Capabilities that tracing needs (linux/capability.h), with the reason.
const CAPABILITIES: [(u32, &str, &str); 5] = [
    (39, "CAP_BPF", "load programs and maps"),
    (38, "CAP_PERFMON", "attach uprobes and read user memory"),
    (19, "CAP_SYS_PTRACE", "reach the files of other mount namespaces"),
    (2, "CAP_DAC_READ_SEARCH", "read the mappings of other users' processes"),
    (21, "CAP_SYS_ADMIN", "watch for executable mappings, attach on kernels before 6.6"),
];

impl Machine {
    /// Looks, and tries to load the programs; nothing is attached.
    pub fn examine() -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
        let mut checks = vec![kernel_version(&kernel), btf(), capabilities()];
        let mut attach_mode = None;
        let found = match Tracer::load(&Options { ring_bytes: 1 << 16, ..Options::default() }) {
            Ok(tracer) => {
                attach_mode = Some(format!("{:?}", tracer.attach_mode()).to_lowercase());
                Check { name: "eBPF programs", ok: true, found: "load".into(), fix: None }
            }
            Err(error) => {
                Check { name: "eBPF programs", ok: false, found: "do not load".into(), fix: Some(error.to_string()) }
            }
        };
        checks.push(found);
        let ready = checks.iter().all(|check| check.ok);
        Self { kernel, architecture: std::env::consts::ARCH, ready, attach_mode, checks }
    }
}

fn kernel_version(release: &str) -> Check {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let ok = version >= (5, 8);
    Check {
        name: "kernel",
        ok,
        found: release.to_owned(),
        fix: (!ok).then(|| "llmtap needs Linux 5.8 or later (BPF ring buffer)".into()),
    }
}

fn btf() -> Check {
    let ok = fs::metadata("/sys/kernel/btf/vmlinux").is_ok();
    Check {
        name: "BTF",
        ok,
        found: if ok { "/sys/kernel/btf/vmlinux" } else { "missing" }.into(),
        fix: (!ok).then(|| "use a kernel built with CONFIG_DEBUG_INFO_BTF=y (5.8 or later)".into()),
    }
}

fn capabilities() -> Check {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    let missing: Vec<String> = CAPABILITIES
        .iter()
        .filter(|(number, ..)| effective & (1 << number) == 0)
        .map(|(_, name, use_)| format!("{name} ({use_})"))
        .collect();
    Check {
        name: "privileges",
        ok: missing.is_empty(),
        found: if missing.is_empty() { "sufficient".into() } else { format!("missing {}", missing.join(", ")) },
        fix: (!missing.is_empty()).then(|| "run as root, for example with sudo".into()),
    }
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
