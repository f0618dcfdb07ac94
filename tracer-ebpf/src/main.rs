//! The eBPF programs of llmtap: entry points only. Each hook family stands in its own module.
#![no_std]
#![no_main]
// Inline assembly for this architecture is unstable; the build allows it as it allows build-std.
#![feature(asm_experimental_arch)]

mod emit;
mod facts;
mod go;
mod maps;
mod process;
mod rustls;
mod socket;
mod task;
mod tls;

use aya_ebpf::{
    EbpfContext as _,
    macros::{raw_tracepoint, uprobe, uretprobe},
    programs::{ProbeContext, RawTracePointContext, RetProbeContext},
};
use tracer_common::event::direction;

/// Entry of a read or write function, where [`call_exit`] sees its end.
#[uprobe]
pub fn call_entry(ctx: ProbeContext) -> u32 {
    tls::enter(&ctx, false);
    0
}

/// A return instruction of a read or write function: an ordinary probe, which leaves the stack alone.
#[uprobe]
pub fn call_exit(ctx: ProbeContext) -> u32 {
    tls::leave(ctx.as_ptr(), false);
    0
}

/// Entry and return of a read or write function in one program (uprobe sessions, 6.13 and later): what the entry
/// returns decides whether the kernel hooks the return of this one call at all. Written without the macro, which
/// drops the result.
#[unsafe(no_mangle)]
#[unsafe(link_section = "uprobe")]
pub fn call_session(ctx: *mut core::ffi::c_void) -> u32 {
    const LEAVE_THE_RETURN_ALONE: u32 = 1;
    if tls::session_is_return(ctx) {
        tls::leave(ctx, true);
        return 0;
    }
    if tls::enter(&ProbeContext::new(ctx), true) { 0 } else { LEAVE_THE_RETURN_ALONE }
}

/// A place that every read passes when it has ended: one ordinary probe sees the whole of it.
#[uprobe]
pub fn read_return(ctx: ProbeContext) -> u32 {
    tls::finished_read(&ctx);
    0
}

/// Entry of a function that ends or names a connection.
#[uprobe]
pub fn connection_fact(ctx: ProbeContext) -> u32 {
    facts::entered(&ctx);
    0
}

/// The stack check of Go's `(*Conn).writeRecordLocked`.
#[uprobe]
pub fn go_write(ctx: ProbeContext) -> u32 {
    go::write(&ctx);
    0
}

/// A place that Go's `(*Conn).Read` passes when it has got bytes.
#[uprobe]
pub fn go_read(ctx: ProbeContext) -> u32 {
    go::read(&ctx);
    0
}

/// The stack check of Go's `(*Conn).Close`.
#[uprobe]
pub fn go_close(ctx: ProbeContext) -> u32 {
    go::close(&ctx);
    0
}

/// The stack check of the function that begins the handshake of a Go connection.
#[uprobe]
pub fn go_handshake(ctx: ProbeContext) -> u32 {
    go::handshake(&ctx);
    0
}

/// rustls is about to seal a record.
#[uprobe]
pub fn record_sealed(ctx: ProbeContext) -> u32 {
    rustls::sealed(&ctx);
    0
}

/// rustls has opened a record.
#[uprobe]
pub fn record_opened(ctx: ProbeContext) -> u32 {
    rustls::opened(&ctx);
    0
}

#[raw_tracepoint(tracepoint = "sock_send_length")]
pub fn socket_sent(ctx: RawTracePointContext) -> i32 {
    socket::transferred(&ctx, direction::SEND);
    0
}

#[raw_tracepoint(tracepoint = "sock_recv_length")]
pub fn socket_received(ctx: RawTracePointContext) -> i32 {
    socket::transferred(&ctx, direction::RECEIVE);
    0
}

#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn socket_changed(ctx: RawTracePointContext) -> i32 {
    socket::changed(&ctx);
    0
}

/// Does nothing: the benchmark's measure of what a site costs by itself.
#[uprobe]
pub fn empty_entry(_ctx: ProbeContext) -> u32 {
    0
}

/// As [`empty_entry`], for returns.
#[uretprobe]
pub fn empty_return(_ctx: RetProbeContext) -> u32 {
    0
}

#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn process_fork(ctx: RawTracePointContext) -> i32 {
    process::forked(&ctx);
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec(ctx: RawTracePointContext) -> i32 {
    process::replaced(&ctx);
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(ctx: RawTracePointContext) -> i32 {
    process::exited(&ctx);
    0
}

#[raw_tracepoint(tracepoint = "cgroup_attach_task")]
pub fn cgroup_attach(ctx: RawTracePointContext) -> i32 {
    process::joined_cgroup(&ctx);
    0
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
