//! Capabilities (capabilities(7)): which ones tracing needs, and giving up the others.

#![expect(unsafe_code, reason = "capset(2) and prctl(2) are foreign functions")]

use std::{fs, io};

/// A capability that llmtap has a use for.
#[derive(Debug, Clone, Copy)]
pub struct Capability {
    /// Its number in linux/capability.h.
    number: u32,
    pub name: &'static str,
    /// What it is for, as a phrase.
    pub purpose: &'static str,
    /// Nothing is traced without it.
    pub needed: bool,
    /// The privileged half keeps it while it traces. The others are for the start.
    kept: bool,
}

const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;
const CHECKPOINT_RESTORE: u32 = 40;

/// All of them. A test takes each away in turn; docs/operations.md has what then happens.
pub const CAPABILITIES: [Capability; 9] = [
    capability(BPF, "CAP_BPF", "load programs and maps", true, true),
    capability(
        PERFMON,
        "CAP_PERFMON",
        "attach uprobes, read user memory and watch for executable mappings",
        true,
        true,
    ),
    capability(19, "CAP_SYS_PTRACE", "reach the files of other users and in other mount namespaces", false, true),
    capability(
        2,
        "CAP_DAC_READ_SEARCH",
        "open other users' private files, and libraries that were deleted or replaced",
        false,
        true,
    ),
    capability(SYS_ADMIN, "CAP_SYS_ADMIN", "hold programs at their start, and attach before Linux 6.6", false, true),
    capability(
        CHECKPOINT_RESTORE,
        "CAP_CHECKPOINT_RESTORE",
        "open libraries that were deleted or replaced, without CAP_SYS_ADMIN",
        false,
        true,
    ),
    capability(5, "CAP_KILL", "pass signals on to the command, and stop a parsing half that hangs", false, true),
    capability(7, "CAP_SETUID", "let the parsing half become another user", true, false),
    capability(6, "CAP_SETGID", "let the parsing half leave its groups", true, false),
];

const fn capability(number: u32, name: &'static str, purpose: &'static str, needed: bool, kept: bool) -> Capability {
    Capability { number, name, purpose, needed, kept }
}

impl Capability {
    fn bit(&self) -> u64 {
        1 << self.number
    }

    fn is_in(&self, set: u64) -> bool {
        let of_admin = [BPF, PERFMON, CHECKPOINT_RESTORE].contains(&self.number) && set & (1 << SYS_ADMIN) != 0;
        of_admin || set & self.bit() != 0
    }
}

/// Those of [`CAPABILITIES`] that this process does not have now, nor another that includes them: to the kernel,
/// CAP_SYS_ADMIN holds for CAP_BPF, CAP_PERFMON and CAP_CHECKPOINT_RESTORE (linux/capability.h).
pub fn missing() -> Vec<Capability> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    CAPABILITIES.into_iter().filter(|capability| !capability.is_in(effective)).collect()
}

/// The half that parses traffic could not become another user.
#[derive(Debug, thiserror::Error)]
#[error("{0} is missing, with which the half that parses traffic becomes another user: run as root, or give it")]
pub struct Unconfinable(&'static str);

/// Whether [`super::confine`] can do its part as root: to be asked before anything is hooked.
pub fn may_confine() -> Result<(), Unconfinable> {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(());
    }
    let needed = missing().into_iter().find(|capability| capability.needed && !capability.kept);
    needed.map_or(Ok(()), |capability| Err(Unconfinable(capability.name)))
}

/// Keeps what the privileged half uses while it traces, gives up everything else for good, and with it the way to more:
/// what this process could execute gets no privileges either.
///
/// Call it while the process has one thread: later threads inherit it.
pub fn keep_for_tracing() -> io::Result<()> {
    let kept = CAPABILITIES.iter().filter(|capability| capability.kept).map(Capability::bit).sum();
    keep(kept)?;
    no_new_privileges()
}

/// Gives up all capabilities.
pub(super) fn drop_all() -> io::Result<()> {
    keep(0)
}

pub(super) fn no_new_privileges() -> io::Result<()> {
    // SAFETY: integer arguments only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// As far as this process may: by CAP_SETPCAP, which goes with the change of user. Without a way to exec, what stays in
/// the set does not matter.
pub(super) fn empty_bounding_set() {
    for capability in 0..64 {
        // SAFETY: integer arguments only. The kernel refuses numbers that it does not know.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
}

/// The effective and the permitted set become what they have of `mask`; the inheritable and the ambient set, and what can
/// be emptied of the bounding set, become empty.
fn keep(mask: u64) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    /// `_LINUX_CAPABILITY_VERSION_3` (linux/capability.h): two words of three sets each.
    const VERSION_3: u32 = 0x2008_0522;

    empty_bounding_set();
    let header = Header { version: VERSION_3, pid: 0 };
    // Effective, permitted and inheritable of the lower 32, then of the upper ones.
    let mut sets = [0_u32; 6];
    // SAFETY: both pointers are to live values of the size that version 3 of the call reads and writes.
    if unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let [_, lower, _, _, upper, _] = sets;
    let (lower, upper) = (lower & mask as u32, upper & (mask >> 32) as u32);
    let sets = [lower, lower, 0, upper, upper, 0];
    // SAFETY: as above.
    if unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn administration_includes_what_was_split_from_it() {
        let lacking =
            |set: u64| -> Vec<_> { CAPABILITIES.iter().filter(|one| !one.is_in(set)).map(|one| one.name).collect() };
        assert_eq!(
            lacking(1 << SYS_ADMIN),
            ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"]
        );
        assert_eq!(lacking(!(1 << SYS_ADMIN)), ["CAP_SYS_ADMIN"]);
        assert_eq!(lacking(0).len(), CAPABILITIES.len());
    }
}
