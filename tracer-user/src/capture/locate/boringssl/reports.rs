//! Reports to BoringSSL's error queue: where the code names `ssl_lib.cc`, and with which reason.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register as R};
use memchr::{memchr_iter, memmem};

use super::super::elf::Elf;

/// The source file's name as `__FILE__` gives it, whatever directory stands before.
const FILE: &[u8] = b"ssl/ssl_lib.cc\0";
/// Longest directory before it.
const MAX_DIRECTORY: usize = 512;
/// Copies of the library in one file that are looked at.
const MAX_NAMES: usize = 4;
/// Places that name the file: BoringSSL has some fifty.
const MAX_LOADS: usize = 512;
/// `ERR_LIB_SSL` (`err.h`).
const LIBRARY: u64 = 16;
/// Instructions from the load of the name to the call, at most; eight are the most seen.
const MAX_SETUP: usize = 12;

/// An instruction that puts the file's name into a register.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) address: u64,
    name: u64,
}

/// The library by the name of its source file, and the address of that name.
pub(super) fn file_names(elf: &Elf<'_>) -> Vec<(&'static str, u64)> {
    let finder = memmem::Finder::new(FILE);
    let mut found = Vec::new();
    for bytes in elf.constants() {
        for at in finder.find_iter(bytes) {
            let before = &bytes[at.saturating_sub(MAX_DIRECTORY)..at];
            let length = before.iter().rev().take_while(|byte| byte.is_ascii_graphic() || **byte == b' ').count();
            let start = at - length;
            let directory = &bytes[start..at];
            // AWS's fork keeps the file's name, its functions differ.
            let is_fork = ["aws-lc", "aws_lc"].iter().any(|fork| memmem::find(directory, fork.as_bytes()).is_some());
            if let Some(address) = elf.address(elf.position(bytes) + start)
                && found.len() < MAX_NAMES
                && !found.iter().any(|(_, known)| *known == address)
            {
                found.push((if is_fork { "aws-lc" } else { "boringssl" }, address));
            }
        }
    }
    found
}

/// All instructions that load one of the names: `lea` relative to the instruction pointer, or `mov` of the address
/// itself in executables that are linked to a fixed place.
pub(super) fn loads(elf: &Elf<'_>, names: &[(&'static str, u64)]) -> Vec<Load> {
    let mut found = Vec::new();
    for (start, text) in elf.texts() {
        let mut add = |at: usize, name: u64| {
            if found.len() < MAX_LOADS {
                found.push(Load { address: start.wrapping_add(at as u64), name });
            }
        };
        // 48 or 4c, 8d, a ModRM byte without base and index, the distance from the end of the instruction.
        for at in memchr_iter(0x8d, text) {
            if let Some([prefix, _, operands, a, b, c, d]) = at.checked_sub(1).and_then(|from| text.get(from..from + 7))
                && prefix & 0xfb == 0x48
                && operands & 0xc7 == 0x05
            {
                let distance = i64::from(i32::from_le_bytes([*a, *b, *c, *d]));
                let target = start.wrapping_add(at as u64 + 6).wrapping_add_signed(distance);
                if names.iter().any(|(_, name)| *name == target) {
                    add(at - 1, target);
                }
            }
        }
        for (_, name) in names {
            let Ok(immediate) = u32::try_from(*name) else { continue };
            for at in memmem::find_iter(text, &immediate.to_le_bytes()) {
                // b8 to bf; with the prefix 41 the register is one of the upper eight, which carry no such argument.
                let code = at.checked_sub(1).and_then(|at| text.get(at));
                if code.is_some_and(|code| code & 0xf8 == 0xb8) {
                    add(at - 1, *name);
                }
            }
        }
    }
    found.sort_by_key(|load| load.address);
    found
}

/// The reason that is reported where the name is loaded.
///
/// The function behind `OPENSSL_PUT_ERROR` takes `(library, unused, reason, file, line)`; a link-time optimiser may have
/// dropped the unused argument. So the reason stands in the register before that of the file, the library in the first.
pub(super) fn reason(elf: &Elf<'_>, load: &Load) -> Option<u32> {
    let code = elf.code(load.address)?;
    let mut registers: [Option<u64>; 16] = [None; 16];
    let mut pushed = None;
    let mut decoder = Decoder::with_ip(64, code, load.address, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    for _ in 0..MAX_SETUP {
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() {
            return None;
        }
        match instruction.flow_control() {
            FlowControl::Next => note(&instruction, &mut registers, &mut pushed),
            FlowControl::Call | FlowControl::UnconditionalBranch => break,
            _ => return None,
        }
    }
    let value = |register: R| registers[register.number()];
    if value(R::RDI) != Some(LIBRARY) {
        return None;
    }
    let reason = if value(R::RCX) == Some(load.name) {
        value(R::RDX)
    } else if value(R::RDX) == Some(load.name) {
        value(R::RSI)
    } else {
        None
    };
    u32::try_from(reason?).ok()
}

/// Follows constants only. What is built for size has short ones pushed and popped.
fn note(instruction: &Instruction, registers: &mut [Option<u64>; 16], pushed: &mut Option<u64>) {
    let target = instruction.op0_register();
    if instruction.mnemonic() == Mnemonic::Push {
        let constant = matches!(instruction.op0_kind(), OpKind::Immediate8to64 | OpKind::Immediate32to64);
        *pushed = constant.then(|| instruction.immediate(0));
        return;
    }
    if instruction.op0_kind() != OpKind::Register || !target.full_register().is_gpr64() {
        return;
    }
    let value = match (instruction.mnemonic(), instruction.op1_kind()) {
        (Mnemonic::Mov, OpKind::Immediate32 | OpKind::Immediate64 | OpKind::Immediate32to64) => {
            Some(instruction.immediate(1))
        }
        (Mnemonic::Mov, OpKind::Register) if target.is_gpr64() && instruction.op1_register().is_gpr64() => {
            registers[instruction.op1_register().number()]
        }
        (Mnemonic::Pop, _) => pushed.take(),
        (Mnemonic::Xor, OpKind::Register) if target == instruction.op1_register() => Some(0),
        (Mnemonic::Lea, _) if instruction.is_ip_rel_memory_operand() => Some(instruction.ip_rel_memory_address()),
        (Mnemonic::Cmp | Mnemonic::Test, _) => return,
        _ => None,
    };
    registers[target.full_register().number()] = value;
}
