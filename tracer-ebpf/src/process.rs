//! Which processes are targets, kept by the scheduler's and the cgroup's raw tracepoints.

use aya_ebpf::{
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid, generated::bpf_probe_read_kernel_str,
    },
    maps::RingBuf,
    programs::RawTracePointContext,
};
use tracer_common::{
    counter::Counter,
    event::{CgroupId, Process, Target, kind, lifecycle},
    limits::{CGROUP_DEPTH, FILE_NAME},
};

use crate::{
    emit,
    maps::{CGROUPS, EVENTS, NOTICE_ALL, PROCESSES, TARGETS, THREADS, TRACE_ALL, count, offsets},
    task::{self, Task, read_kernel},
};

/// Makes the process a target.
#[inline(always)]
pub fn adopt(task: Task, tgid: u32, now: u64) {
    let target = Target { incarnation: task::unique(now), start: task.start(), exec_count: 0, flags: 0 };
    if TARGETS.insert(&tgid, &target, 0).is_err() {
        count(Counter::TargetsFull, 1);
    }
}

/// A task was cloned: `(parent, child)`. The child of a target is a target before its first instruction.
#[inline(always)]
pub fn forked(ctx: &RawTracePointContext) {
    let (parent, child) = (Task(ctx.arg(0)), Task(ctx.arg(1)));
    let (from, to) = (parent.tgid(), child.tgid());
    if from == to {
        return;
    }
    let Some(known) = TARGETS.get_ptr(&from) else { return };
    // SAFETY: values of a preallocated hash map stay mapped while the program runs.
    let flags = unsafe { (*known).flags };
    let now = task::now();
    let target = Target {
        incarnation: task::unique(now),
        start: child.start(),
        exec_count: 0,
        flags: flags & (Target::EXCLUDED | Target::TAME_STACKS),
    };
    if TARGETS.insert(&to, &target, 0).is_err() {
        count(Counter::TargetsFull, 1);
        return;
    }
    if flags & Target::EXCLUDED == 0 {
        record(&Life { what: lifecycle::FORK, tgid: to, parent: from, target: Some(&target), file: 0, now }, true);
    }
}

/// A process replaced its image: `(task, old_pid, bprm)`. Its tgid stays, whichever thread called exec.
#[inline(always)]
pub fn replaced(ctx: &RawTracePointContext) {
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    let now = task::now();
    let _ = THREADS.remove(&pid_tgid);
    // The thread that called exec has taken the first thread's id; it does not end under its old one.
    let old: u32 = ctx.arg(1);
    let _ = THREADS.remove(&(u64::from(tgid) << 32 | u64::from(old)));
    let bprm: u64 = ctx.arg(2);
    let file: u64 = read_kernel(bprm, offsets::BPRM_FILENAME.load());
    let parent = Task(ctx.arg(0)).parent().tgid();
    let Some(known) = TARGETS.get_ptr_mut(&tgid) else {
        if TRACE_ALL.load() != 0 {
            adopt(Task(ctx.arg(0)), tgid, now);
        } else if NOTICE_ALL.load() != 0 {
            record(&Life { what: lifecycle::EXEC, tgid, parent, target: None, file, now }, false);
            return;
        }
        if let Some(known) = TARGETS.get_ptr(&tgid) {
            // SAFETY: values of a preallocated hash map stay mapped while the program runs.
            let target = unsafe { *known };
            record(&Life { what: lifecycle::EXEC, tgid, parent, target: Some(&target), file, now }, true);
        }
        return;
    };
    // SAFETY: as above.
    let known = unsafe { &mut *known };
    known.incarnation = task::unique(now);
    known.exec_count += 1;
    known.flags &= Target::EXCLUDED;
    if known.flags & Target::EXCLUDED == 0 {
        let target = *known;
        record(&Life { what: lifecycle::EXEC, tgid, parent, target: Some(&target), file, now }, true);
    }
}

/// A thread ends. Only when none of its process is left does the process; a second report then finds it gone.
#[inline(always)]
pub fn exited(ctx: &RawTracePointContext) {
    let pid_tgid = bpf_get_current_pid_tgid();
    let tgid = (pid_tgid >> 32) as u32;
    let _ = THREADS.remove(&pid_tgid);
    let Some(known) = TARGETS.get_ptr(&tgid) else { return };
    if Task(ctx.arg(0)).live_threads() != 0 {
        return;
    }
    // SAFETY: values of a preallocated hash map stay mapped while the program runs.
    let target = unsafe { *known };
    if TARGETS.remove(&tgid).is_ok() && target.flags & Target::EXCLUDED == 0 {
        let now = task::now();
        record(&Life { what: lifecycle::EXIT, tgid, parent: 0, target: Some(&target), file: 0, now }, true);
    }
}

/// A task moves to a cgroup: `(cgroup, path, task, whole process)`. It becomes a target when the cgroup or one above
/// it is selected.
#[inline(always)]
pub fn joined_cgroup(ctx: &RawTracePointContext) {
    let mut cgroup: u64 = ctx.arg(0);
    let task = Task(ctx.arg(2));
    let root: u64 = read_kernel(cgroup, offsets::CGROUP_ROOT.load());
    let hierarchy = u64::from(read_kernel::<u32>(root, offsets::ROOT_HIERARCHY_ID.load()));
    for _ in 0..CGROUP_DEPTH {
        if cgroup == 0 {
            return;
        }
        let node: u64 = read_kernel(cgroup, offsets::CGROUP_KN.load());
        let inode = read_kernel(node, offsets::KN_ID.load());
        if CGROUPS.get_ptr(&CgroupId { inode, hierarchy }).is_some() {
            let tgid = task.tgid();
            if TARGETS.get_ptr(&tgid).is_none() {
                let now = task::now();
                adopt(task, tgid, now);
                notice(task, lifecycle::JOINED, tgid, now);
            }
            return;
        }
        let parent: u64 = read_kernel(cgroup, offsets::CGROUP_SELF.load() + offsets::CSS_PARENT.load());
        cgroup = if parent == 0 { 0 } else { parent - u64::from(offsets::CGROUP_SELF.load()) };
    }
}

/// Tells the privileged half alone.
#[inline(always)]
pub fn notice(task: Task, what: u32, tgid: u32, now: u64) {
    let parent = task.parent().tgid();
    if let Some(known) = TARGETS.get_ptr(&tgid) {
        // SAFETY: values of a preallocated hash map stay mapped while the program runs.
        let target = unsafe { *known };
        record(&Life { what, tgid, parent, target: Some(&target), file: 0, now }, false);
    }
}

struct Life<'a> {
    what: u32,
    tgid: u32,
    parent: u32,
    target: Option<&'a Target>,
    /// Address of the executable's path in the kernel, or 0.
    file: u64,
    now: u64,
}

/// Tells the privileged half, and with `both` the reader of events, in its order with the data.
#[inline(always)]
fn record(life: &Life<'_>, both: bool) {
    if !write(&PROCESSES, life, 0) {
        count(Counter::NoticesLost, 1);
    }
    if both && !write(&EVENTS, life, emit::wake(life.now)) {
        count(Counter::FactsLost, 1);
    }
}

#[inline(always)]
fn write(ring: &RingBuf, life: &Life<'_>, flags: u64) -> bool {
    let Some(mut entry) = ring.reserve::<Process>(0) else { return false };
    let record = entry.as_mut_ptr();
    let (incarnation, start, exec_count) = match life.target {
        Some(target) => (target.incarnation, target.start, target.exec_count),
        None => (0, 0, 0),
    };
    // SAFETY: the reservation holds a whole `Process`; the helper checks the kernel address and writes no more than
    // asked, the first byte aside, which is written here.
    unsafe {
        (&raw mut (*record).kind).write(kind::PROCESS);
        (&raw mut (*record).what).write(life.what);
        (&raw mut (*record).tgid).write(life.tgid);
        (&raw mut (*record).parent).write(life.parent);
        (&raw mut (*record).uid).write(bpf_get_current_uid_gid() as u32);
        (&raw mut (*record).exec_count).write(exec_count);
        (&raw mut (*record).incarnation).write(incarnation);
        (&raw mut (*record).start).write(start);
        (&raw mut (*record).time).write(life.now);
        (&raw mut (*record).target).write(u32::from(life.target.is_some()));
        (&raw mut (*record).reserved).write(0);
        (&raw mut (*record).comm).write(bpf_get_current_comm().unwrap_or_default());
        (&raw mut (*record).file).cast::<u8>().write(0);
        if life.file != 0 {
            bpf_probe_read_kernel_str((&raw mut (*record).file).cast(), FILE_NAME as u32, life.file as *const _);
        }
    }
    entry.submit(flags);
    true
}
