//! The verdict on one process.

use std::{collections::HashMap, fs};

use serde::Serialize;

use super::{
    sockets::{Connections, Descriptors},
    watch::Seen,
};
use crate::capture::{
    locate::Reason,
    process,
    survey::{Placement, Survey, TlsFile, TlsLibrary},
};

/// One TLS library of a process, or what keeps the process from being traced.
#[derive(Debug, Serialize)]
pub struct ProcessVerdict {
    pub pid: u32,
    pub name: String,
    /// The file that holds the TLS code, as the process names it; absent where the verdict is on the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// `openssl 3.0.15`; absent where it is not one that llmtap hooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// By what the library was recognised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recognised: Option<&'static str>,
    /// Why another TLS library in the same file is not hooked: a program may hold several and use one.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "code")]
    pub beside: Option<Reason>,
    /// Whether llmtap sees what the process says.
    pub traced: bool,
    pub connections: Connections,
    /// What passed its hooks; only where it was watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    /// A short stable name: `ok`, `ok_exported` (hooked at the exported functions, which costs the process more),
    /// `ok_found` (hooked at functions that no symbol names), or why not.
    pub reason: &'static str,
    /// The same in words.
    pub explanation: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<&'static str>,
}

fn code<S: serde::Serializer>(reason: &Option<Reason>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(reason.map_or("", Reason::code))
}

impl ProcessVerdict {
    /// It looked well, and could not be hooked.
    pub(super) fn refuse(&mut self, reason: &'static str, explanation: String) {
        (self.traced, self.reason, self.explanation) = (false, reason, explanation);
    }

    /// Judges anew by what was seen while the process was watched: with two libraries in one file, it uses the one that is
    /// not hooked, if nothing passed the hooks of the other beside its open connections.
    pub(super) fn seen(&mut self, seen: Seen) {
        if let Some(reason) = self.beside.filter(|_| seen.connections == 0 && self.connections.tls > 0) {
            self.fix = reason.fix();
            self.refuse(reason.code(), format!("{}, and nothing passed the hooks", self.explanation));
        }
        self.seen = Some(seen);
    }
}

/// What keeps a whole process, or part of its traffic, from being seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    Unreadable,
    Gvisor,
    VirtualMachine,
    ShadowStack,
    Quic,
    IoUring,
}

impl Obstacle {
    fn code(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Gvisor => "gvisor",
            Self::VirtualMachine => "virtual_machine",
            Self::ShadowStack => "shadow_stack",
            Self::Quic => "quic",
            Self::IoUring => "io_uring",
        }
    }

    fn explanation(self) -> &'static str {
        match self {
            Self::Unreadable => "its mappings cannot be read with these privileges",
            Self::Gvisor => "runs programs under a kernel of its own (gVisor), where our probes do not reach",
            Self::VirtualMachine => "runs programs under a kernel of their own, in a virtual machine",
            Self::ShadowStack => "has a shadow stack, with which probes on returns end a process before Linux 6.11",
            Self::Quic => "has QUIC connections (UDP to port 443), whose TLS passes no function that is hooked",
            Self::IoUring => "sends through io_uring; plaintext on it is not seen",
        }
    }

    fn fix(self) -> &'static str {
        match self {
            Self::Unreadable => "Run llmtap as root, for example with sudo.",
            Self::Gvisor | Self::VirtualMachine => "Run llmtap inside, or the program under runc or crun.",
            Self::ShadowStack => "Update to Linux 6.11, or start the program without GLIBC_TUNABLES=…x86_shstk=on.",
            Self::Quic => "Switch HTTP/3 off in the program; over TCP its calls are seen.",
            Self::IoUring => "Let the program use TLS, or switch io_uring off in its runtime.",
        }
    }
}

/// Kernels from this one on tell which returns are safe to probe.
const SESSIONS: (u32, u32) = (6, 13);

/// Verdicts on process `pid`: on each of its TLS libraries, and on what stands in the way. Empty where there is nothing
/// to say. `None`: its mappings cannot be read.
pub fn examine(pid: u32, survey: &mut Survey, kernel: (u32, u32)) -> Option<Vec<ProcessVerdict>> {
    let mut files = survey.process(pid).ok()?;
    let refused = |file: &TlsFile| Some((file.path.clone(), file.verdict.as_ref().err().copied()?));
    let beside: HashMap<String, Reason> = files.iter().filter_map(refused).collect();
    // A program can link several TLS libraries and use one: where one is hooked, the others are noted, no more.
    if files.iter().any(|file| file.verdict.is_ok()) {
        files.retain(|file| file.verdict.is_ok());
    }
    let open = Descriptors::of(pid);
    let connections = open.connections(pid);
    let mut obstacles = Vec::new();
    obstacles.extend(sandbox(pid));
    let has_shadow_stack = fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|text| shadow_stack(&text));
    if has_shadow_stack && kernel < (6, 11) && !files.is_empty() {
        obstacles.push(Obstacle::ShadowStack);
    }
    if connections.quic > 0 {
        obstacles.push(Obstacle::Quic);
    }
    if open.io_uring && files.is_empty() {
        obstacles.push(Obstacle::IoUring);
    }
    let name = name(pid);
    let of_file = |file: TlsFile| {
        let beside = beside.get(&file.path).copied();
        let lacking = file.verdict.as_ref().ok().and_then(|library| library.needs_sessions.clone());
        let mut verdict = of_file(pid, &name, connections, file, beside);
        if let Some(why) = lacking.filter(|_| kernel < SESSIONS) {
            verdict.refuse("attach_refused", why);
            verdict.fix = Some("Update to Linux 6.13, or use a build with other compiler settings.");
        }
        verdict
    };
    let verdicts = files.into_iter().map(of_file);
    Some(verdicts.chain(obstacles.iter().map(|one| of_obstacle(pid, &name, connections, *one))).collect())
}

/// The verdict on a process of which nothing can be read.
pub fn unreadable(pid: u32) -> ProcessVerdict {
    of_obstacle(pid, &name(pid), Connections::default(), Obstacle::Unreadable)
}

fn name(pid: u32) -> String {
    process::facts(pid, &[]).ok().and_then(|facts| facts.service).map_or_else(|| "?".into(), |name| name.to_string())
}

fn of_obstacle(pid: u32, name: &str, connections: Connections, obstacle: Obstacle) -> ProcessVerdict {
    ProcessVerdict {
        pid,
        name: name.to_owned(),
        file: None,
        library: None,
        recognised: None,
        beside: None,
        traced: false,
        connections,
        seen: None,
        reason: obstacle.code(),
        explanation: obstacle.explanation().into(),
        fix: Some(obstacle.fix()),
    }
}

fn of_file(pid: u32, name: &str, connections: Connections, file: TlsFile, beside: Option<Reason>) -> ProcessVerdict {
    let name = name.to_owned();
    match file.verdict {
        Ok(TlsLibrary { name: library, placement, .. }) => ProcessVerdict {
            pid,
            name,
            file: Some(file.path),
            recognised: Some(recognised(&library, placement)),
            library: Some(library),
            beside,
            traced: true,
            connections,
            seen: None,
            reason: match placement {
                Placement::Method => "ok",
                Placement::Exported => "ok_exported",
                Placement::Found => "ok_found",
            },
            explanation: {
                let hooked = match placement {
                    Placement::Method => "hooked",
                    Placement::Exported => "hooked at its exported functions",
                    Placement::Found => "hooked at functions found without symbols",
                };
                beside.map_or_else(|| hooked.to_owned(), |reason| format!("{hooked}; the file also {reason}"))
            },
            fix: None,
        },
        Err(reason) => ProcessVerdict {
            pid,
            name,
            explanation: format!("{} {reason}", file.path.rsplit('/').next().unwrap_or(&file.path)),
            file: Some(file.path),
            library: None,
            recognised: None,
            beside: None,
            traced: false,
            connections,
            seen: None,
            reason: reason.code(),
            fix: reason.fix(),
        },
    }
}

/// As docs/runtimes.md has it for each library; of two in one file, for the first.
fn recognised(library: &str, placement: Placement) -> &'static str {
    match (library.split([' ', ',']).next(), placement) {
        (Some("go"), _) => "its table of functions",
        (Some("rustls"), _) => "paths in panic messages",
        (_, Placement::Method | Placement::Exported) => "exported symbols",
        (Some("openssl"), Placement::Found) => "its method tables",
        (_, Placement::Found) => "its error reports",
    }
}

/// Processes that stand for a kernel inside, by the names of their executables.
fn sandbox(pid: u32) -> Option<Obstacle> {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = exe.file_name()?.to_str()?;
    match name.trim_end_matches(" (deleted)") {
        "runsc" | "runsc-sandbox" => Some(Obstacle::Gvisor),
        "containerd-shim-kata-v2" | "cloud-hypervisor" | "firecracker" => Some(Obstacle::VirtualMachine),
        name if name.starts_with("qemu-system-") => Some(Obstacle::VirtualMachine),
        _ => None,
    }
}

/// From `/proc/PID/status`.
fn shadow_stack(status: &str) -> bool {
    let features = status.lines().find_map(|line| line.strip_prefix("x86_Thread_features:"));
    features.is_some_and(|features| features.split_ascii_whitespace().any(|feature| feature == "shstk"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_libraries_in_a_file_the_one_that_is_used_shows() {
        let verdict = |tls| {
            let library = TlsLibrary { name: "rustls".into(), placement: Placement::Found, needs_sessions: None };
            let file = TlsFile { path: "/opt/agent".into(), verdict: Ok(library) };
            let connections = Connections { tls, ..Connections::default() };
            of_file(1, "agent", connections, file, Some(Reason::StrippedOpenSsl))
        };
        let silent = Seen::default();
        let mut idle = verdict(0);
        idle.seen(silent.clone());
        assert!(idle.traced && idle.beside.is_some() && idle.fix.is_none(), "{idle:?}");
        let mut talking = verdict(2);
        talking.seen(Seen { connections: 1, ..silent.clone() });
        assert!(talking.traced && talking.reason == "ok_found");
        let mut elsewhere = verdict(2);
        elsewhere.seen(silent);
        assert!(!elsewhere.traced && elsewhere.reason == "openssl_stripped" && elsewhere.fix.is_some());
        assert!(elsewhere.explanation.contains("OpenSSL without its symbols"), "{elsewhere:?}");
    }

    #[test]
    fn each_library_says_by_what_it_was_recognised() {
        for (library, placement, by) in [
            ("openssl 3.0.15", Placement::Method, "exported symbols"),
            ("gnutls 3.7.9", Placement::Method, "exported symbols"),
            ("boringssl", Placement::Exported, "exported symbols"),
            ("boringssl", Placement::Found, "its error reports"),
            ("openssl 3.5.5, rustls 0.23.36", Placement::Found, "its method tables"),
            ("rustls 0.21.12", Placement::Found, "paths in panic messages"),
            ("go 1.27.3", Placement::Method, "its table of functions"),
        ] {
            assert_eq!(recognised(library, placement), by, "{library}");
        }
    }

    #[test]
    fn a_shadow_stack_shows_in_the_status() {
        assert!(shadow_stack("Name:\tx\nx86_Thread_features:\tshstk wrss \nx86_Thread_features_locked:\t\n"));
        assert!(!shadow_stack("Name:\tx\nx86_Thread_features:\t\nx86_Thread_features_locked:\tshstk\n"));
    }
}
