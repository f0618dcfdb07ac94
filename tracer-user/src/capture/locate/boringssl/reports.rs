//! Reports to BoringSSL's error queue: where the code names `ssl_lib.cc`, and with which reason.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register as R};
use memchr::memmem;

use super::super::elf::Elf;
use super::super::sources::{self, Load, Name};

/// The source file's name as `__FILE__` gives it, whatever directory stands before.
const FILE: &[u8] = b"ssl/ssl_lib.cc\0";
/// `ERR_LIB_SSL` (`err.h`).
const LIBRARY: u64 = 16;
/// Instructions from the load of the name to the call, at most; eight are the most seen.
const MAX_SETUP: usize = 12;

/// The names of that file.
pub(super) fn file_names<'a>(elf: &Elf<'a>) -> Vec<Name<'a>> {
    sources::names(elf, FILE)
}

/// Whose copy of it the directory tells: AWS's fork keeps the file's name, its functions differ.
pub(super) fn library(name: &Name<'_>) -> &'static str {
    let is_fork = ["aws-lc", "aws_lc"].iter().any(|fork| memmem::find(name.directory, fork.as_bytes()).is_some());
    if is_fork { "aws-lc" } else { "boringssl" }
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
