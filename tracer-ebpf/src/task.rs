//! Facts about tasks, read through the field offsets that user space took from the kernel's BTF.

use aya_ebpf::helpers::{bpf_get_current_task, bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_probe_read_kernel};
use tracer_common::limits::{MAIN_STACK_WINDOW, THREAD_STACK_WINDOW};

use crate::maps::offsets;

/// A `struct task_struct *` of the kernel.
#[derive(Clone, Copy)]
pub struct Task(pub u64);

/// Reads a `T` of kernel memory; all zeroes when the address is bad, which no field read here means anything by.
#[inline(always)]
pub fn read_kernel<T: Default>(base: u64, offset: u32) -> T {
    // SAFETY: the helper checks the address itself and fails instead of faulting.
    unsafe { bpf_probe_read_kernel((base + u64::from(offset)) as *const T) }.unwrap_or_default()
}

impl Task {
    #[inline(always)]
    pub fn current() -> Self {
        // SAFETY: no preconditions.
        Self(unsafe { bpf_get_current_task() })
    }

    #[inline(always)]
    pub fn tgid(self) -> u32 {
        read_kernel(self.0, offsets::TASK_TGID.load())
    }

    #[inline(always)]
    pub fn pid(self) -> u32 {
        read_kernel(self.0, offsets::TASK_PID.load())
    }

    /// Start of the process (of its first thread), `CLOCK_BOOTTIME` nanoseconds.
    #[inline(always)]
    pub fn start(self) -> u64 {
        let leader: u64 = read_kernel(self.0, offsets::TASK_GROUP_LEADER.load());
        read_kernel(leader, offsets::TASK_START_BOOTTIME.load())
    }

    #[inline(always)]
    pub fn parent(self) -> Self {
        Self(read_kernel(self.0, offsets::TASK_REAL_PARENT.load()))
    }

    /// Threads of the process that have not begun to exit.
    #[inline(always)]
    pub fn live_threads(self) -> u32 {
        let signal: u64 = read_kernel(self.0, offsets::TASK_SIGNAL.load());
        read_kernel(signal, offsets::SIGNAL_LIVE.load())
    }

    /// Top of the thread's own stack and how far below it the stack is taken to reach. The main thread's is
    /// `mm->start_stack`; libc places another thread's control block, to which its thread pointer points, at the top.
    #[inline(always)]
    pub fn own_stack(self, is_main: bool) -> (u64, u64) {
        if is_main {
            let mm: u64 = read_kernel(self.0, offsets::TASK_MM.load());
            (read_kernel(mm, offsets::MM_START_STACK.load()), MAIN_STACK_WINDOW)
        } else {
            (read_kernel(self.0, offsets::TASK_FSBASE.load()), THREAD_STACK_WINDOW)
        }
    }
}

#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: no preconditions.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// A number that no other event of this boot has: the time in 32nds of CPUs, rising with time, in 64 bits for 18
/// years of uptime. An atomic counter that returns its value would need a 5.12 kernel.
#[inline(always)]
pub fn unique(now: u64) -> u64 {
    // SAFETY: no preconditions.
    (now << 5) | u64::from(unsafe { bpf_get_smp_processor_id() } & 31)
}
