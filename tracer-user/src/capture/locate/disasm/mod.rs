//! A bounded reading of one x86-64 function: which values stand in which registers on the way, whom it calls with
//! what, and where a probe may stand.
//!
//! This is an abstract interpretation in the small. Every register holds a [`Value`]: an argument of the function, a
//! constant, an address in its frame, or a pointer loaded through its first argument. What the reading cannot follow
//! becomes `Unknown`, so that a conclusion is drawn only from instructions that were understood.

mod state;

use std::{collections::HashSet, ops::Range};

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpKind, Register as R};

use super::elf::Elf;
use super::{Emulated, Register, Site};
use state::State;

/// Instructions read in one function. The largest slot function seen has 150, `ssl3_read_bytes` is not read.
const MAX_INSTRUCTIONS: usize = 600;
/// Bytes of one function that are read line by line. `gnutls_record_send2` has 1,300.
const MAX_FUNCTION: usize = 64 << 10;
/// Paths that wait to be read at one time.
const MAX_PATHS: usize = 64;
/// Instructions passed over in search of a good site; the farthest one seen is the fourth.
const MAX_BEFORE_SITE: usize = 24;

/// Integer argument registers in order (System V ABI for x86-64, section 3.2.3).
const ARGUMENTS: [R; 6] = [R::RDI, R::RSI, R::RDX, R::RCX, R::R8, R::R9];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    Unknown,
    /// The n-th argument, all 64 bits of it.
    Argument(u8),
    /// The low 32 bits of the n-th argument.
    Low(u8),
    Constant(u64),
    /// The low 32 bits of what the call before returned.
    Result,
    /// The stack pointer at the function's entry, plus this.
    Frame(i64),
    /// The word at this address.
    Global(u64),
    /// The word at this offset in what argument 0 points to.
    Field(u64),
    /// The word at `slot` in what `Field(field)` points to: a method of a method table, say.
    Slot {
        field: u64,
        slot: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Callee {
    Address(u64),
    Value(Value),
}

/// A call, or a jump that leaves the function with its frame taken down: a call in tail position.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) callee: Callee,
    pub(super) arguments: [Value; 6],
    /// The seventh argument, the first that travels on the stack.
    pub(super) seventh: Value,
    /// Where it returns to, and what is known there; `None` in tail position.
    after: Option<(u64, State)>,
}

impl Call {
    /// In tail position: the function ends here and never sees the result.
    pub(super) fn is_last(&self) -> bool {
        self.after.is_none()
    }
}

/// How far a reading goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds<'a> {
    /// Instructions read at most.
    pub(super) instructions: usize,
    /// Paths that wait to be read at one time.
    pub(super) paths: usize,
    /// Addresses of other functions, ascending: the flow that comes there has left the function.
    pub(super) others: &'a [u64],
    /// Whether a branch with the frame up leads to another part of the function all the same, such as a cold one, and a
    /// conditional one with the frame down to another function.
    pub(super) parts: bool,
}

impl Bounds<'_> {
    const SLOT_FUNCTION: Self = Bounds { instructions: MAX_INSTRUCTIONS, paths: MAX_PATHS, others: &[], parts: false };
}

pub(super) struct Reading {
    pub(super) calls: Vec<Call>,
    /// Addresses of the return instructions.
    pub(super) returns: Vec<u64>,
    /// Where the function writes through a pointer that it loaded through its first argument: that pointer, and the
    /// offset.
    pub(super) stores: Vec<(Value, u64)>,
    /// Addresses of the instructions that were read.
    pub(super) seen: HashSet<u64>,
    /// Where branches inside the function lead.
    targets: HashSet<u64>,
    /// Nothing was left unread: no cap was hit, no computed jump was met.
    pub(super) complete: bool,
}

/// Reads the function at `entry`, called with its own arguments in place: every path once, up to the caps.
pub(super) fn read(elf: &Elf<'_>, entry: u64) -> Reading {
    read_from(elf, entry, State::at_entry(), Bounds::SLOT_FUNCTION)
}

/// The same, within bounds of the caller's.
pub(super) fn read_within(elf: &Elf<'_>, entry: u64, bounds: Bounds<'_>) -> Reading {
    read_from(elf, entry, State::at_entry(), bounds)
}

/// Reads the function that `call` calls, with the values that it is given there.
pub(super) fn read_callee(elf: &Elf<'_>, call: &Call) -> Option<Reading> {
    let Callee::Address(entry) = call.callee else { return None };
    let mut state = State::at_entry();
    for (register, value) in ARGUMENTS.into_iter().zip(call.arguments) {
        // Addresses in the caller's frame would be taken for those of its own.
        state.set(register, if matches!(value, Value::Frame(_)) { Value::Unknown } else { value });
    }
    Some(read_from(elf, entry, state, Bounds::SLOT_FUNCTION))
}

/// The calls of the function that takes up `range`, and its jumps to others, from one line to the next: what a computed
/// jump leads to is read too. Values are those since the last place that a jump inside the function may lead to.
pub(super) fn calls_in(elf: &Elf<'_>, range: Range<u64>) -> Vec<Call> {
    let code = elf.code(range.start).unwrap_or_default();
    let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX).min(MAX_FUNCTION);
    let code = code.get(..length.min(code.len())).unwrap_or_default();
    let instructions = || Decoder::with_ip(64, code, range.start, DecoderOptions::NONE).into_iter();
    let inside: HashSet<u64> = instructions().filter(is_near).map(|branch| branch.near_branch_target()).collect();
    let mut calls = Vec::new();
    let mut factory = InstructionInfoFactory::new();
    let mut state = State::at_entry();
    for instruction in instructions() {
        if inside.contains(&instruction.ip()) {
            state = State::unknown();
        }
        match instruction.flow_control() {
            FlowControl::Next => state.step(&instruction, &mut factory),
            FlowControl::Call => {
                calls.push(state.call(Callee::Address(instruction.near_branch_target()), 0));
                state.after_call();
            }
            FlowControl::IndirectCall => {
                calls.push(state.call(Callee::Value(state.operand(&instruction, 0)), 0));
                state.after_call();
            }
            FlowControl::ConditionalBranch => {}
            _ => {
                if is_near(&instruction) && !range.contains(&instruction.near_branch_target()) {
                    calls.push(state.call(Callee::Address(instruction.near_branch_target()), 8));
                }
                state = State::unknown();
            }
        }
    }
    calls
}

fn read_from(elf: &Elf<'_>, entry: u64, start: State, bounds: Bounds<'_>) -> Reading {
    let mut reading = Reading {
        calls: Vec::new(),
        returns: Vec::new(),
        stores: Vec::new(),
        seen: HashSet::new(),
        targets: HashSet::new(),
        complete: true,
    };
    let leaves = |address: u64| address != entry && bounds.others.binary_search(&address).is_ok();
    let is_part = |state: &State| bounds.parts && state.frame_is_up();
    let mut waiting = vec![(entry, start, false)];
    let mut budget = bounds.instructions;
    let mut factory = InstructionInfoFactory::new();
    while let Some((address, mut state, part)) = waiting.pop() {
        let Some(code) = elf.code(address) else {
            reading.complete = false;
            continue;
        };
        for instruction in &mut Decoder::with_ip(64, code, address, DecoderOptions::NONE) {
            if budget == 0 || instruction.is_invalid() {
                reading.complete = false;
                break;
            }
            // A call that never returns may be the last instruction before the next function.
            let is_left = leaves(instruction.ip()) && !(part && instruction.ip() == address);
            if is_left || !reading.seen.insert(instruction.ip()) {
                break;
            }
            budget -= 1;
            match instruction.flow_control() {
                FlowControl::Next => {
                    reading.stores.extend(state.store_through_field(&instruction));
                    state.step(&instruction, &mut factory);
                }
                FlowControl::Call | FlowControl::IndirectCall => {
                    let callee = match instruction.flow_control() {
                        FlowControl::Call => Callee::Address(instruction.near_branch_target()),
                        _ => Callee::Value(state.operand(&instruction, 0)),
                    };
                    let mut call = state.call(callee, 0);
                    state.after_call();
                    call.after = Some((instruction.next_ip(), state.clone()));
                    reading.calls.push(call);
                }
                FlowControl::ConditionalBranch if is_near(&instruction) => {
                    let target = instruction.near_branch_target();
                    reading.targets.insert(target);
                    if bounds.parts && leaves(target) && !is_part(&state) {
                        reading.complete &= state.frame_is_down();
                        reading.calls.push(state.call(Callee::Address(target), 8));
                    } else if waiting.len() < bounds.paths {
                        waiting.push((target, state.clone(), is_part(&state)));
                    } else {
                        reading.complete = false;
                    }
                }
                FlowControl::UnconditionalBranch if is_near(&instruction) => {
                    let target = instruction.near_branch_target();
                    if state.frame_is_down() {
                        reading.calls.push(state.call(Callee::Address(target), 8));
                    }
                    let part = is_part(&state);
                    if leaves(target) && !part {
                        reading.complete &= !bounds.parts || state.frame_is_down();
                        break;
                    }
                    reading.targets.insert(target);
                    // A jump with the frame down may still be one inside a function that has none: follow it.
                    waiting.push((target, state, part));
                    break;
                }
                FlowControl::IndirectBranch => {
                    // With the frame up it is a switch, whose cases stay unread.
                    if state.frame_is_down() {
                        reading.calls.push(state.call(Callee::Value(state.operand(&instruction, 0)), 8));
                    } else {
                        reading.complete = false;
                    }
                    break;
                }
                FlowControl::Return => {
                    reading.returns.push(instruction.ip());
                    break;
                }
                FlowControl::Interrupt | FlowControl::Exception => break,
                _ => {
                    reading.complete = false;
                    break;
                }
            }
        }
    }
    reading
}

/// The place for a probe in the function at `entry`: the first instruction that the kernel emulates, if it comes on
/// every path, has the stack pointer where it was at entry, and the first `arguments` arguments in registers. Else the
/// entry itself.
///
/// No site is taken that a branch of the function leads to, or over: it would fire twice, or be overwritten in the
/// middle of what another path runs.
pub(super) fn site(elf: &Elf<'_>, entry: u64, arguments: usize) -> Option<Site> {
    let arguments = arguments.min(ARGUMENTS.len());
    let offset = elf.offset(entry)?;
    let at_entry = State::at_entry().located(arguments)?;
    let reading = read(elf, entry);
    let first = Decoder::with_ip(64, elf.code(entry)?, entry, DecoderOptions::NONE).decode();
    let fallback = Site { offset, registers: at_entry, emulated: emulated(&first, elf) };
    let better = || {
        let mut state = State::at_entry();
        let mut factory = InstructionInfoFactory::new();
        let code = elf.code(entry)?;
        for instruction in Decoder::with_ip(64, code, entry, DecoderOptions::NONE).iter().take(MAX_BEFORE_SITE) {
            if instruction.is_invalid() {
                return None;
            }
            let stack_intact = state.register(R::RSP) == Value::Frame(0);
            if let (Some(kind), true) = (emulated(&instruction, elf), stack_intact) {
                let clear =
                    reading.complete && !reading.targets.iter().any(|t| (entry..instruction.next_ip()).contains(t));
                if let (true, Some(registers)) = (clear, state.located(arguments)) {
                    return Some(Site { offset: elf.offset(instruction.ip())?, registers, emulated: Some(kind) });
                }
            }
            if instruction.flow_control() != FlowControl::Next {
                return None;
            }
            state.step(&instruction, &mut factory);
        }
        None
    };
    Some(better().unwrap_or(fallback))
}

/// The place that every return of `call` passes first: an instruction that the kernel emulates, with the result in
/// `eax` and each of `wanted` in a register. Nothing else may lead there.
pub(super) fn after<const N: usize>(
    elf: &Elf<'_>,
    reading: &Reading,
    call: &Call,
    wanted: [Value; N],
) -> Option<(u64, Emulated, [Register; N])> {
    let (from, state) = call.after.as_ref()?;
    let mut state = state.clone();
    state.set(R::EAX, Value::Result);
    let mut factory = InstructionInfoFactory::new();
    for instruction in Decoder::with_ip(64, elf.code(*from)?, *from, DecoderOptions::NONE).iter().take(MAX_BEFORE_SITE)
    {
        if instruction.is_invalid() {
            return None;
        }
        let holders = wanted.map(|value| state.holder(value));
        if let (Some(kind), Value::Result, true) =
            (emulated(&instruction, elf), state.register(R::EAX), holders.iter().all(Option::is_some))
        {
            let clear = !reading.targets.iter().any(|target| (*from..instruction.next_ip()).contains(target));
            let holders = holders.map(|holder| holder.unwrap_or(Register::Rax));
            return clear.then_some((elf.offset(instruction.ip())?, kind, holders));
        }
        match instruction.flow_control() {
            FlowControl::Next => state.step(&instruction, &mut factory),
            FlowControl::Call | FlowControl::IndirectCall => state.after_call(),
            _ => return None,
        }
    }
    None
}

/// The address that a function without arguments returns, if it does nothing else: what `TLS_method` compiles to.
/// Through a global offset table it is the word at the address, as the dynamic linker leaves it.
pub(super) fn returned_address(elf: &Elf<'_>, entry: u64) -> Option<u64> {
    let mut state = State::at_entry();
    let mut factory = InstructionInfoFactory::new();
    for instruction in Decoder::with_ip(64, elf.code(entry)?, entry, DecoderOptions::NONE).iter().take(MAX_BEFORE_SITE)
    {
        match instruction.flow_control() {
            FlowControl::Return => {
                return match state.register(R::RAX) {
                    Value::Constant(address) => Some(address),
                    Value::Global(address) => elf.pointers::<1>(address)[0],
                    _ => None,
                };
            }
            FlowControl::Next if !instruction.is_invalid() => {}
            _ => return None,
        }
        state.step(&instruction, &mut factory);
    }
    None
}

/// What the kernel does in place of a single step (`arch/x86/kernel/uprobes.c`): branches without prefixes, one-byte
/// `nop`, `push` of a register. `call` is left out: no function can have its stack pointer untouched there, as the
/// ABI asks for 16-byte alignment, and older kernels break user shadow stacks with a probed `call`. Longer `nop`s are
/// emulated by new kernels only.
fn emulated(instruction: &Instruction, elf: &Elf<'_>) -> Option<Emulated> {
    let code = elf.code(instruction.ip())?.get(..instruction.len())?;
    match code {
        [0x50..=0x57] | [0x41, 0x50..=0x57] => Some(Emulated::Push),
        [0x70..=0x7f, _] | [0x0f, 0x80..=0x8f, _, _, _, _] => Some(Emulated::ConditionalJump),
        [0xeb, _] | [0xe9, _, _, _, _] => Some(Emulated::Jump),
        [0x90] => Some(Emulated::Nop),
        _ => None,
    }
}

fn is_near(instruction: &Instruction) -> bool {
    matches!(instruction.op0_kind(), OpKind::NearBranch64)
}
