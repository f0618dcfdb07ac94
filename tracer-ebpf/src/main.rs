#![no_std]
#![no_main]

use aya_ebpf::{macros::uprobe, programs::ProbeContext};

#[uprobe]
pub fn placeholder(_ctx: ProbeContext) -> u32 {
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
