//! Takes every privilege from the half of llmtap that parses other people's bytes.

#![expect(unsafe_code, reason = "system calls that libc only offers as foreign functions")]

use std::{collections::BTreeMap, io, os::fd::RawFd};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::{User, privileges};

/// Closes every descriptor except `keep`, becomes `user` for good, gives up all capabilities and the right to gain any,
/// and installs a seccomp filter that refuses to open files, start programs and touch other processes.
///
/// Call it while the process has one thread: later threads inherit all of it.
pub fn confine(keep: &[RawFd], user: &User) -> io::Result<()> {
    close_others(keep)?;
    privileges::empty_bounding_set();
    become_user(user)?;
    privileges::drop_all()?;
    privileges::no_new_privileges()?;
    // Payload is in this memory: no core file, no ptrace by processes of the same user.
    set_process_flag(libc::PR_SET_DUMPABLE, 0)?;
    for filter in filters().map_err(io::Error::other)? {
        seccompiler::apply_filter(&filter).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Closes every descriptor except `keep`.
pub fn close_others(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<libc::c_uint> = keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).collect();
    keep.sort_unstable();
    let mut first = 0;
    for fd in keep {
        if first < fd {
            close_range(first, fd - 1)?;
        }
        first = fd + 1;
    }
    close_range(first, libc::c_uint::MAX)
}

/// close_range(2), Linux 5.9; on 5.8 descriptor by descriptor.
fn close_range(first: libc::c_uint, last: libc::c_uint) -> io::Result<()> {
    // SAFETY: closes descriptors that nothing in this process uses from here on; no memory is passed.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::ENOSYS) {
        return Err(error);
    }
    for fd in first..=last.min(65_535) {
        // SAFETY: as above; an unused number gives EBADF, which does no harm.
        unsafe { libc::close(fd.cast_signed()) };
    }
    Ok(())
}

fn become_user(user: &User) -> io::Result<()> {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(());
    }
    // Root without sudo has no other user to become: nobody.
    let (uid, gid) = if user.uid == 0 { (65_534, 65_534) } else { (user.uid, user.gid) };
    // SAFETY: plain identifiers; a null group list of length 0 is what setgroups(2) documents for "none".
    let failed = unsafe {
        libc::setgroups(0, std::ptr::null()) != 0
            || libc::setresgid(gid, gid, gid) != 0
            || libc::setresuid(uid, uid, uid) != 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn set_process_flag(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: integer arguments only.
    if unsafe { libc::prctl(option, value, 0, 0, 0) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// System calls that open files, start programs or reach into other processes or the kernel. They fail with EPERM.
fn filters() -> Result<Vec<BpfProgram>, seccompiler::BackendError> {
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(unused_mut, reason = "only x86-64 has the older forms of these calls")
    )]
    let mut refused = vec![
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_open_by_handle_at,
        libc::SYS_name_to_handle_at,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_process_madvise,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_io_uring_setup,
        libc::SYS_userfaultfd,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_open_tree,
        libc::SYS_move_mount,
        libc::SYS_fsopen,
        libc::SYS_fspick,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_setns,
        libc::SYS_unshare,
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_unlinkat,
        libc::SYS_renameat2,
        libc::SYS_linkat,
        libc::SYS_symlinkat,
        libc::SYS_mkdirat,
        libc::SYS_mknodat,
        libc::SYS_fchmodat,
        libc::SYS_fchownat,
        libc::SYS_truncate,
        libc::SYS_setuid,
        libc::SYS_setgid,
    ];
    #[cfg(target_arch = "x86_64")]
    refused.extend([
        libc::SYS_open,
        libc::SYS_creat,
        libc::SYS_fork,
        libc::SYS_vfork,
        libc::SYS_unlink,
        libc::SYS_rename,
        libc::SYS_renameat,
        libc::SYS_link,
        libc::SYS_symlink,
        libc::SYS_mkdir,
        libc::SYS_rmdir,
        libc::SYS_mknod,
        libc::SYS_chmod,
        libc::SYS_chown,
    ]);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = refused.into_iter().map(|call| (call, Vec::new())).collect();
    // clone(2) may make threads, not processes.
    let process = SeccompCondition::new(
        0,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(libc::CLONE_THREAD.cast_unsigned().into()),
        0,
    )?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![process])?]);
    // The flags of clone3 lie in memory, where a filter cannot look: it fails as on a kernel without it, and libc takes
    // clone.
    [(rules, libc::EPERM), (BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)]
        .into_iter()
        .map(|(rules, errno)| {
            let refuse = SeccompAction::Errno(errno.cast_unsigned());
            SeccompFilter::new(rules, SeccompAction::Allow, refuse, std::env::consts::ARCH.try_into()?)?.try_into()
        })
        .collect()
}
