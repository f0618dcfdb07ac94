//! Where `(*Conn).Read` is seen to have ended.
//!
//! Its return instructions serve always, but none of them is one that the kernel emulates. Better is a conditional jump
//! on the way there, at which the number of bytes already stands in a register. That it does is proven by following all
//! ways through the function: each that passes the jump returns what the register holds there, and each other one
//! returns 0.

use std::collections::{BTreeMap, HashMap, HashSet};

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register as R};

use super::code::{Body, is_call, is_write, on_stack, target};

/// Visits of one instruction, on average, before the search is given up: a value changes at most twice at each.
const MAX_VISITS: usize = 64;

/// A place that finished reads pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Finished {
    pub(super) address: u64,
    /// Holds the number of bytes; not positive if there are none.
    pub(super) register: u32,
    /// Distance from the stack pointer to the return address.
    pub(super) frame: u64,
}

/// The places of which every read that returns bytes passes exactly one. `None`: the function is not of the known form.
pub(super) fn finished(body: &Body, never_return: &HashSet<u64>) -> Option<Vec<Finished>> {
    let frame = body.keeps_arguments()?;
    if let Some((address, register)) = jump(body, never_return) {
        return Some(vec![Finished { address, register, frame }]);
    }
    let at_return = |address| Finished { address, register: number(R::RAX), frame: 0 };
    Some(body.returns(frame)?.into_iter().map(at_return).collect())
}

/// A conditional jump of this kind, and the register.
fn jump(body: &Body, never_return: &HashSet<u64>) -> Option<(u64, u32)> {
    let mut flow = Flow { body, never_return, factory: InstructionInfoFactory::new() };
    let tests = body.instructions.windows(2).enumerate().filter_map(|(index, pair)| {
        let [test, jump] = pair else { return None };
        let register = test.op0_register();
        let tested = test.mnemonic() == Mnemonic::Test && register == test.op1_register() && register.is_gpr64();
        (tested && jump.flow_control() == FlowControl::ConditionalBranch).then_some((index + 1, register))
    });
    for (at, register) in tests {
        let mut held = State::default();
        held.set(register, Value::Result);
        let after: Vec<usize> = flow.successors(at)?;
        let passes = after.into_iter().map(|next| (next, held.clone())).collect();
        let others = vec![(body.check + 1, State::default())];
        if flow.every_return_is(Value::Result, passes, at, false) && flow.every_return_is(Value::Zero, others, at, true)
        {
            return Some((body.instructions[at].ip(), number(register)));
        }
    }
    None
}

fn number(register: R) -> u32 {
    register.number() as u32
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Zero,
    /// What the register held at the jump.
    Result,
}

/// What registers and the frame are known to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct State {
    registers: [Option<Value>; 16],
    /// By distance from the stack pointer.
    slots: BTreeMap<u64, Value>,
}

struct Flow<'a> {
    body: &'a Body,
    never_return: &'a HashSet<u64>,
    factory: InstructionInfoFactory,
}

impl Flow<'_> {
    /// Follows all ways from `starts`. One that comes to `stop` ends there if `may_stop`, and is the end of the proof
    /// otherwise.
    fn every_return_is(&mut self, wanted: Value, starts: Vec<(usize, State)>, stop: usize, may_stop: bool) -> bool {
        let mut known: HashMap<usize, State> = HashMap::new();
        let mut waiting = starts;
        let mut visits = MAX_VISITS * self.body.instructions.len();
        let mut returns = 0;
        while let Some((index, state)) = waiting.pop() {
            if index == stop {
                if may_stop {
                    continue;
                }
                return false;
            }
            let state = match known.get(&index) {
                Some(before) => {
                    let met = before.meet(&state);
                    if met == *before {
                        continue;
                    }
                    met
                }
                None => state,
            };
            known.insert(index, state.clone());
            let Some(left) = visits.checked_sub(1) else { return false };
            visits = left;
            let Some(instruction) = self.body.instructions.get(index) else { return false };
            if instruction.flow_control() == FlowControl::Return {
                if state.get(R::RAX) != Some(wanted) {
                    return false;
                }
                returns += 1;
                continue;
            }
            let mut state = state;
            state.step(instruction, &mut self.factory);
            let Some(next) = self.successors(index) else { return false };
            waiting.extend(next.into_iter().map(|next| (next, state.clone())));
        }
        returns > 0
    }

    /// Where the flow goes on; `None` where that is not known.
    fn successors(&self, index: usize) -> Option<Vec<usize>> {
        let instruction = &self.body.instructions[index];
        let to = || self.body.index_of(target(instruction));
        match instruction.flow_control() {
            FlowControl::Call if self.never_return.contains(&target(instruction)) => Some(Vec::new()),
            FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => Some(vec![index + 1]),
            FlowControl::UnconditionalBranch => Some(vec![to()?]),
            FlowControl::ConditionalBranch => Some(vec![index + 1, to()?]),
            FlowControl::Interrupt | FlowControl::Exception => Some(Vec::new()),
            _ => None,
        }
    }
}

impl State {
    fn get(&self, register: R) -> Option<Value> {
        self.registers[register.number()]
    }

    /// Writing the low half of a register clears the other.
    fn set(&mut self, register: R, value: impl Into<Option<Value>>) {
        self.registers[register.number()] = value.into();
    }

    /// What holds whichever of the two ways was taken.
    fn meet(&self, other: &Self) -> Self {
        let mut met = self.clone();
        for (mine, theirs) in met.registers.iter_mut().zip(&other.registers) {
            if *mine != *theirs {
                *mine = None;
            }
        }
        met.slots.retain(|at, value| other.slots.get(at) == Some(value));
        met
    }

    fn step(&mut self, instruction: &Instruction, factory: &mut InstructionInfoFactory) {
        if is_call(instruction) || instruction.flow_control() == FlowControl::IndirectCall {
            // Go's functions preserve no general register but the stack and frame pointers and the goroutine.
            self.registers = Default::default();
            return;
        }
        let value = value(instruction, self);
        self.forget_writes(instruction, factory);
        match instruction.op0_kind() {
            OpKind::Register if value.is_some() => self.set(instruction.op0_register(), value),
            OpKind::Memory => {
                if let (Some(at), Some(value), 8) = (on_stack(instruction), value, instruction.memory_size().size()) {
                    self.slots.insert(at, value);
                }
            }
            _ => {}
        }
    }

    fn forget_writes(&mut self, instruction: &Instruction, factory: &mut InstructionInfoFactory) {
        let info = factory.info(instruction);
        for used in info.used_registers().iter().filter(|used| is_write(used.access())) {
            let full = used.register().full_register();
            if full == R::RSP {
                self.slots.clear();
            } else if full.is_gpr64() {
                self.set(full, None);
            }
        }
        for used in info.used_memory().iter().filter(|used| is_write(used.access()) && used.base() == R::RSP) {
            let at = used.displacement();
            let end = at.wrapping_add(used.memory_size().size().max(1) as u64);
            self.slots.retain(|slot, _| *slot >= end || slot.wrapping_add(8) <= at);
        }
    }
}

/// What the instruction writes to its first operand, where that is followed.
fn value(instruction: &Instruction, state: &State) -> Option<Value> {
    match instruction.mnemonic() {
        Mnemonic::Xor
            if instruction.op0_kind() == OpKind::Register
                && instruction.op0_register() == instruction.op1_register() =>
        {
            Some(Value::Zero)
        }
        Mnemonic::Mov => match instruction.op1_kind() {
            OpKind::Register if instruction.op1_register().is_gpr64() => state.get(instruction.op1_register()),
            OpKind::Memory if instruction.memory_size().size() == 8 => {
                state.slots.get(&on_stack(instruction)?).copied()
            }
            OpKind::Immediate32 | OpKind::Immediate32to64 | OpKind::Immediate64 if instruction.immediate(1) == 0 => {
                Some(Value::Zero)
            }
            _ => None,
        },
        _ => None,
    }
}
