//! What stands in registers and in the frame at one place of a function.

use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register as R};

use super::{super::Register, ARGUMENTS, Call, Callee, Value};

/// Words of a frame that are followed.
const MAX_FRAME: usize = 48;

/// Registers that keep their value over a call (same section, figure 3.4).
const PRESERVED: [R; 6] = [R::RBX, R::RBP, R::R12, R::R13, R::R14, R::R15];

#[derive(Debug, Clone)]
pub(super) struct State {
    registers: [Value; 16],
    frame: Vec<(i64, Value)>,
}

impl State {
    pub(super) fn unknown() -> Self {
        Self { registers: [Value::Unknown; 16], frame: Vec::new() }
    }

    pub(super) fn at_entry() -> Self {
        let mut state = Self::unknown();
        for (index, register) in (0..).zip(ARGUMENTS) {
            state.set(register, Value::Argument(index));
        }
        state.set(R::RSP, Value::Frame(0));
        state
    }

    pub(super) fn register(&self, register: R) -> Value {
        let full = register.full_register();
        let value = if full.is_gpr64() { self.registers[full.number()] } else { Value::Unknown };
        match (register.size(), value) {
            (8, value) => value,
            (4, Value::Argument(index) | Value::Low(index)) => Value::Low(index),
            (4, Value::Constant(constant)) => Value::Constant(constant & u64::from(u32::MAX)),
            (4, Value::Result) => Value::Result,
            _ => Value::Unknown,
        }
    }

    pub(super) fn set(&mut self, register: R, value: Value) {
        let full = register.full_register();
        if !full.is_gpr64() {
            return;
        }
        // A write of 32 bits clears the upper half, a shorter one keeps the rest.
        self.registers[full.number()] = match (register.size(), value) {
            (8, value) | (4, value @ (Value::Low(_) | Value::Result)) => value,
            (4, Value::Constant(constant)) => Value::Constant(constant & u64::from(u32::MAX)),
            (4, Value::Argument(index)) => Value::Low(index),
            _ => Value::Unknown,
        };
    }

    /// Which registers hold the first arguments; the one that an argument came in is preferred.
    pub(super) fn located(&self, arguments: usize) -> Option<[Option<Register>; 6]> {
        let mut located = [None; 6];
        for (index, (slot, home)) in (0..).zip(located.iter_mut().zip(ARGUMENTS)).take(arguments) {
            let wanted = Value::Argument(index);
            let holder = if self.register(home) == wanted {
                home.number()
            } else {
                self.registers.iter().position(|value| *value == wanted)?
            };
            *slot = Some(Register::from_number(holder)?);
        }
        Some(located)
    }

    pub(super) fn frame_is_down(&self) -> bool {
        self.register(R::RSP) == Value::Frame(0)
    }

    /// Whether the function's own frame certainly stands.
    pub(super) fn frame_is_up(&self) -> bool {
        matches!(self.register(R::RSP), Value::Frame(at) if at != 0)
    }

    /// The call made from here. `skip` is what lies on the stack below the seventh argument: in tail position the
    /// return address.
    pub(super) fn call(&self, callee: Callee, skip: i64) -> Call {
        let seventh = match self.register(R::RSP) {
            Value::Frame(at) => self.load_frame(at.wrapping_add(skip)),
            _ => Value::Unknown,
        };
        Call { callee, arguments: ARGUMENTS.map(|register| self.register(register)), seventh, after: None }
    }

    /// Which register holds the value, a preserved one first.
    pub(super) fn holder(&self, wanted: Value) -> Option<Register> {
        let holds = |number: &usize| self.registers[*number] == wanted;
        let preserved = PRESERVED.iter().map(|register| register.number());
        Register::from_number(preserved.chain(0..self.registers.len()).find(holds)?)
    }

    pub(super) fn after_call(&mut self) {
        for number in 0..self.registers.len() {
            let kept = PRESERVED.iter().any(|register| register.number() == number) || number == R::RSP.number();
            if !kept {
                self.registers[number] = Value::Unknown;
            }
        }
    }

    pub(super) fn load_frame(&self, at: i64) -> Value {
        self.frame.iter().find(|(slot, _)| *slot == at).map_or(Value::Unknown, |(_, value)| *value)
    }

    /// Stores `size` bytes in the frame. Words that it only partly covers are forgotten.
    pub(super) fn store_frame(&mut self, at: i64, size: usize, value: Value) {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        self.frame.retain(|(slot, _)| *slot >= at.saturating_add(size) || slot.saturating_add(8) <= at);
        let kept = match (size, value) {
            (8, value) | (4, value @ (Value::Low(_) | Value::Result)) => value,
            (4, Value::Argument(index)) => Value::Low(index),
            (4, Value::Constant(constant)) => Value::Constant(constant & u64::from(u32::MAX)),
            _ => return,
        };
        if kept != Value::Unknown && self.frame.len() < MAX_FRAME {
            self.frame.push((at, kept));
        }
    }

    /// The address of a memory operand, as far as it is one that is followed.
    pub(super) fn address(&self, instruction: &Instruction) -> Option<(Value, u64)> {
        if instruction.memory_index() != R::None || instruction.segment_prefix() != R::None {
            return None;
        }
        let displacement = instruction.memory_displacement64();
        match instruction.memory_base() {
            R::RIP => Some((Value::Constant(instruction.ip_rel_memory_address()), 0)),
            base if base.is_gpr64() => Some((self.register(base), displacement)),
            _ => None,
        }
    }

    pub(super) fn load(&self, instruction: &Instruction) -> Value {
        let size = instruction.memory_size().size();
        match (self.address(instruction), size) {
            (Some((Value::Frame(at), displacement)), 4 | 8) => {
                match (self.load_frame(at.wrapping_add(displacement.cast_signed())), size) {
                    (Value::Argument(index), 4) => Value::Low(index),
                    (Value::Low(_) | Value::Result, 8) => Value::Unknown,
                    (value, _) => value,
                }
            }
            (Some((Value::Argument(0), field)), 8) => Value::Field(field),
            (Some((Value::Constant(address), displacement)), 8) => Value::Global(address.wrapping_add(displacement)),
            (Some((Value::Field(field), slot)), 8) => Value::Slot { field, slot },
            _ => Value::Unknown,
        }
    }

    /// What the instruction writes to, if that is behind a [`Value::Field`].
    pub(super) fn store_through_field(&self, instruction: &Instruction) -> Option<(Value, u64)> {
        if instruction.op0_kind() != OpKind::Memory || matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test)
        {
            return None;
        }
        self.address(instruction).filter(|(base, _)| matches!(base, Value::Field(_)))
    }

    pub(super) fn operand(&self, instruction: &Instruction, index: u32) -> Value {
        match instruction.op_kind(index) {
            OpKind::Register => self.register(instruction.op_register(index)),
            OpKind::Memory => self.load(instruction),
            OpKind::Immediate8
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64 => Value::Constant(instruction.immediate(index)),
            _ => Value::Unknown,
        }
    }

    /// Carries the state over an instruction that is no branch.
    pub(super) fn step(&mut self, instruction: &Instruction, factory: &mut InstructionInfoFactory) {
        let destination = instruction.op0_register();
        let result = match instruction.mnemonic() {
            Mnemonic::Mov => Some(self.operand(instruction, 1)),
            Mnemonic::Lea => Some(match self.address(instruction) {
                Some((Value::Frame(at), displacement)) => Value::Frame(at.wrapping_add(displacement.cast_signed())),
                Some((Value::Constant(address), displacement)) => Value::Constant(address.wrapping_add(displacement)),
                Some((value, 0)) => value,
                _ => Value::Unknown,
            }),
            Mnemonic::Xor | Mnemonic::Sub
                if instruction.op1_kind() == OpKind::Register && destination == instruction.op1_register() =>
            {
                Some(Value::Constant(0))
            }
            // The short way of writing -1.
            Mnemonic::Or if self.operand(instruction, 1) == Value::Constant(u64::MAX) => {
                Some(Value::Constant(u64::MAX))
            }
            Mnemonic::Add | Mnemonic::Sub => match (self.operand(instruction, 0), self.operand(instruction, 1)) {
                (Value::Frame(at), Value::Constant(by)) if instruction.mnemonic() == Mnemonic::Add => {
                    Some(Value::Frame(at.wrapping_add(by.cast_signed())))
                }
                (Value::Frame(at), Value::Constant(by)) => Some(Value::Frame(at.wrapping_sub(by.cast_signed()))),
                _ => None,
            },
            Mnemonic::Push => return self.push(instruction),
            Mnemonic::Pop if instruction.op0_kind() == OpKind::Register => return self.pop(destination),
            Mnemonic::Leave => {
                self.set(R::RSP, self.register(R::RBP));
                return self.pop(R::RBP);
            }
            _ => None,
        };
        match (result, instruction.op0_kind()) {
            (Some(value), OpKind::Register) => self.set(destination, value),
            (Some(value), OpKind::Memory) if matches!(instruction.mnemonic(), Mnemonic::Mov) => {
                if let Some((Value::Frame(at), displacement)) = self.address(instruction) {
                    let at = at.wrapping_add(displacement.cast_signed());
                    self.store_frame(at, instruction.memory_size().size(), value);
                }
            }
            _ => self.forget_writes(instruction, factory),
        }
    }

    pub(super) fn push(&mut self, instruction: &Instruction) {
        let value = self.operand(instruction, 0);
        let size = instruction.stack_pointer_increment().unsigned_abs();
        let at = match self.register(R::RSP) {
            Value::Frame(at) => at.wrapping_sub(i64::from(size)),
            _ => return self.set(R::RSP, Value::Unknown),
        };
        self.set(R::RSP, Value::Frame(at));
        self.store_frame(at, size as usize, value);
    }

    pub(super) fn pop(&mut self, destination: R) {
        let Value::Frame(at) = self.register(R::RSP) else {
            self.set(R::RSP, Value::Unknown);
            return self.set(destination, Value::Unknown);
        };
        let value = self.load_frame(at);
        self.set(R::RSP, Value::Frame(at.wrapping_add(destination.size() as i64)));
        self.set(destination, value);
    }

    /// What an instruction that is not followed writes is unknown after it.
    pub(super) fn forget_writes(&mut self, instruction: &Instruction, factory: &mut InstructionInfoFactory) {
        let writes = |access| {
            matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
        };
        let info = factory.info(instruction);
        for used in info.used_registers().iter().filter(|used| writes(used.access())) {
            let full = used.register().full_register();
            if full.is_gpr64() {
                self.registers[full.number()] = Value::Unknown;
            }
        }
        for used in info.used_memory().iter().filter(|used| writes(used.access())) {
            if let Value::Frame(at) = self.register(used.base()) {
                let at = at.wrapping_add(used.displacement().cast_signed());
                self.store_frame(at, used.memory_size().size().max(8), Value::Unknown);
            }
        }
    }
}
