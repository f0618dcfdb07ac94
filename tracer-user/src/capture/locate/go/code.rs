//! A Go function's instructions, and where in them a probe may stand.
//!
//! Two properties of Go's code serve here (Go's `src/cmd/compile/abi-internal.md`, amd64). Arguments travel in the
//! registers rax, rbx, rcx, rdi, …; the room for them above the return address is the callee's to keep them in, and is
//! used for nothing else. And a function begins by comparing the stack pointer with the goroutine's limit and jumping,
//! if there is too little room, to a call of `runtime.morestack`, after which it begins anew. The jump is an
//! instruction that the kernel emulates; at it all arguments still stand in their registers, and the flags tell
//! whether this pass is the one that goes on.

use std::collections::HashSet;

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind,
    Register as R,
};

use super::table::Function;

/// Instructions from a function's start to the jump of the stack check: 2, or 3 with a large frame.
const MAX_BEFORE_CHECK: usize = 3;
/// Bytes; the largest seen in these functions has 616.
const MAX_FRAME: u64 = 64 << 10;
/// Where the goroutine keeps its stack's limit (`stackguard0`).
const STACK_LIMIT: u64 = 0x10;
/// The registers of the receiver of a method, and of the address and length of a slice behind it.
pub(super) const ARGUMENTS: [R; 3] = [R::RAX, R::RBX, R::RCX];

pub(super) struct Body {
    /// Without those that ask for more stack.
    pub(super) instructions: Vec<Instruction>,
    /// Index of the jump of the stack check.
    pub(super) check: usize,
}

impl Body {
    /// `None` if the function does not begin as Go's do since 1.17, or not for x86-64.
    pub(super) fn of(function: &Function<'_>, more_stack: &HashSet<u64>) -> Option<Self> {
        let decoder = Decoder::with_ip(64, function.code, function.address, DecoderOptions::NONE);
        let mut instructions: Vec<Instruction> = decoder.into_iter().collect();
        let check = instructions.iter().take(MAX_BEFORE_CHECK).position(|one| one.mnemonic() == Mnemonic::Jbe)?;
        let compare = instructions.get(check.checked_sub(1)?)?;
        let limited = compare.mnemonic() == Mnemonic::Cmp
            && matches!(compare.op0_register(), R::RSP | R::R12)
            && compare.memory_base() == R::R14
            && compare.memory_index() == R::None
            && compare.memory_displacement64() == STACK_LIMIT;
        let writes_arguments =
            instructions[..check - 1].iter().any(|one| one.mnemonic() != Mnemonic::Lea || one.op0_register() != R::R12);
        if !limited || writes_arguments {
            return None;
        }
        let more = instructions[check].near_branch_target();
        let more = instructions.iter().position(|one| one.ip() == more).filter(|more| *more > check)?;
        // Keeps the arguments, asks for more, takes the arguments back, begins anew.
        let asks = instructions[more..].iter().position(|one| is_call(one) && more_stack.contains(&target(one)))?;
        let moves = |one: &Instruction| matches!(one.mnemonic(), Mnemonic::Mov | Mnemonic::Movzx | Mnemonic::Nop);
        let (before, after) = (&instructions[more..more + asks], &instructions[more + asks + 1..]);
        let again = after.iter().find(|one| !moves(one))?;
        if !before.iter().all(moves) || again.mnemonic() != Mnemonic::Jmp || target(again) != function.address {
            return None;
        }
        instructions.truncate(more);
        Some(Self { instructions, check })
    }

    /// The address of the jump of the stack check.
    pub(super) fn entry(&self) -> u64 {
        self.instructions[self.check].ip()
    }

    /// Whether the function calls the one at `address` with `second` as the second argument, a constant.
    pub(super) fn calls_with(&self, address: u64, second: u64) -> bool {
        let calls = (0..self.instructions.len())
            .filter(|at| is_call(&self.instructions[*at]) && target(&self.instructions[*at]) == address);
        calls.into_iter().any(|at| {
            let straight =
                self.instructions[..at].iter().rev().take_while(|one| one.flow_control() == FlowControl::Next);
            let mut sets = straight.filter(|one| one.op0_register().full_register() == R::RBX);
            sets.next().is_some_and(|one| {
                one.mnemonic() == Mnemonic::Mov && one.op1_kind() == OpKind::Immediate32 && one.immediate(1) == second
            })
        })
    }

    /// The size of the frame, bytes, if its arguments stand above the return address from before the first call or
    /// branch to the end of the function.
    pub(super) fn keeps_arguments(&self) -> Option<u64> {
        let mut frame = 0u64;
        let mut kept = HashSet::new();
        for (index, instruction) in self.instructions.iter().enumerate().skip(self.check + 1) {
            if instruction.flow_control() != FlowControl::Next || kept.len() == ARGUMENTS.len() {
                break;
            }
            frame = frame.wrapping_add(grows_stack(instruction)?);
            let argument = ARGUMENTS.iter().position(|register| {
                instruction.mnemonic() == Mnemonic::Mov
                    && instruction.op0_kind() == OpKind::Memory
                    && instruction.op1_register() == *register
                    && on_stack(instruction).and_then(|at| at.checked_sub(frame)) == Some(argument_at(*register))
            });
            match argument {
                Some(_) => _ = kept.insert(index),
                // Another value by then.
                None if ARGUMENTS.contains(&instruction.op0_register().full_register()) => return None,
                None => {}
            }
        }
        if kept.len() < ARGUMENTS.len() || frame == 0 || frame > MAX_FRAME {
            return None;
        }
        let arguments = frame + 8..frame + 8 + 8 * ARGUMENTS.len() as u64;
        let mut factory = InstructionInfoFactory::new();
        let mut others = self.instructions.iter().enumerate().skip(self.check + 1);
        let untouched = others.all(|(index, one)| {
            let takes_address =
                one.mnemonic() == Mnemonic::Lea && on_stack(one).is_some_and(|at| arguments.contains(&at));
            let writes = factory.info(one).used_memory().iter().any(|memory| {
                let size = memory.memory_size().size().max(1) as u64;
                let at = memory.displacement();
                is_write(memory.access())
                    && match memory.base() {
                        R::RSP => {
                            memory.index() != R::None || (at < arguments.end && arguments.start < at.wrapping_add(size))
                        }
                        // Above what it points to, the caller's frame pointer, stand the return address and these.
                        R::RBP => at.cast_signed() >= 0,
                        _ => false,
                    }
            });
            kept.contains(&index) || !(takes_address || writes)
        });
        untouched.then_some(frame)
    }

    /// The return instructions, each with the stack pointer at the return address.
    pub(super) fn returns(&self, frame: u64) -> Option<Vec<u64>> {
        let returns = (0..self.instructions.len()).filter(|at| self.instructions[*at].mnemonic() == Mnemonic::Ret);
        let released = |at: usize| {
            let mut shrinks = self.instructions[..at]
                .iter()
                .rev()
                .filter(|one| one.mnemonic() != Mnemonic::Nop)
                .map(grows_stack)
                .take_while(|by| *by != Some(0));
            let grown = shrinks.try_fold(0u64, |sum, by| Some(sum.wrapping_add(by?)));
            grown.is_some_and(|grown| 0u64.wrapping_sub(grown) == frame)
        };
        let found: Option<Vec<u64>> = returns.map(|at| released(at).then(|| self.instructions[at].ip())).collect();
        found.filter(|returns| !returns.is_empty())
    }

    pub(super) fn index_of(&self, address: u64) -> Option<usize> {
        self.instructions.binary_search_by_key(&address, Instruction::ip).ok()
    }
}

pub(super) fn is_call(instruction: &Instruction) -> bool {
    instruction.flow_control() == FlowControl::Call
}

pub(super) fn target(instruction: &Instruction) -> u64 {
    instruction.near_branch_target()
}

pub(super) fn is_write(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}

/// The distance from the stack pointer of the instruction's memory operand, if that is one on the stack.
pub(super) fn on_stack(instruction: &Instruction) -> Option<u64> {
    let direct = instruction.memory_base() == R::RSP && instruction.memory_index() == R::None;
    direct.then(|| instruction.memory_displacement64())
}

/// How far above the return address the caller leaves room for an argument.
fn argument_at(register: R) -> u64 {
    let index = ARGUMENTS.iter().position(|one| *one == register).unwrap_or_default();
    8 + 8 * index as u64
}

/// By how many bytes the instruction moves the stack pointer down; wraps for those that move it up. 0 for others, `None`
/// where the distance is not in the instruction.
fn grows_stack(instruction: &Instruction) -> Option<u64> {
    match instruction.mnemonic() {
        Mnemonic::Push => Some(8),
        Mnemonic::Pop => Some(0u64.wrapping_sub(8)),
        Mnemonic::Sub if instruction.op0_register() == R::RSP => instruction.try_immediate(1).ok(),
        Mnemonic::Add if instruction.op0_register() == R::RSP => {
            instruction.try_immediate(1).ok().map(|by| 0u64.wrapping_sub(by))
        }
        _ => Some(0),
    }
}
