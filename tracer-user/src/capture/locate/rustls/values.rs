//! What a stretch of code without calls computes, told by where each value came from.
//!
//! Every register begins with a value of its own. From there on a value is a word of memory at a distance from another
//! value, a sum of another value and a number, or something else. Two values are the same if they have the same number.
//! Memory is taken to change only where the code itself writes to it by the same base.

use std::collections::HashMap;

use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register as R};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Value(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// What the register of this number held at first.
    Register(usize),
    Constant(i64),
    Word(Place),
    /// Never of a sum or a constant, and never of 0.
    Sum(Value, i64),
    Other(u32),
}

/// A distance from a value that is no sum itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) base: Value,
    pub(super) offset: i64,
}

impl Place {
    pub(super) fn plus(self, by: i64) -> Self {
        Self { base: self.base, offset: self.offset.wrapping_add(by) }
    }
}

/// All values that came up.
pub(super) struct Values {
    origins: Vec<Origin>,
    known: HashMap<Origin, Value>,
    factory: InstructionInfoFactory,
}

/// What is known at one point of the code.
#[derive(Clone)]
pub(super) struct State {
    registers: [Value; 16],
    /// The latest last: where, how many bytes, what.
    stores: Vec<(Place, usize, Value)>,
}

/// Registers that keep their value over a call (System V ABI for x86-64, figure 3.4), the stack pointer included.
const PRESERVED: [R; 7] = [R::RBX, R::RSP, R::RBP, R::R12, R::R13, R::R14, R::R15];

impl Values {
    pub(super) fn new() -> Self {
        Self { origins: Vec::new(), known: HashMap::new(), factory: InstructionInfoFactory::new() }
    }

    pub(super) fn state(&mut self) -> State {
        State { registers: std::array::from_fn(|number| self.of(Origin::Register(number))), stores: Vec::new() }
    }

    pub(super) fn origin(&self, value: Value) -> Origin {
        self.origins[value.0 as usize]
    }

    pub(super) fn plus(&mut self, value: Value, by: i64) -> Value {
        match self.origin(value) {
            Origin::Constant(constant) => self.of(Origin::Constant(constant.wrapping_add(by))),
            _ => {
                let Place { base, offset } = self.place(value).plus(by);
                if offset == 0 { base } else { self.of(Origin::Sum(base, offset)) }
            }
        }
    }

    /// Where the value points to.
    pub(super) fn place(&self, value: Value) -> Place {
        match self.origin(value) {
            Origin::Sum(base, offset) => Place { base, offset },
            _ => Place { base: value, offset: 0 },
        }
    }

    fn of(&mut self, origin: Origin) -> Value {
        *self.known.entry(origin).or_insert_with(|| {
            self.origins.push(origin);
            Value(self.origins.len() as u32 - 1)
        })
    }

    fn other(&mut self) -> Value {
        self.of(Origin::Other(self.origins.len() as u32))
    }
}

impl State {
    pub(super) fn register(&self, register: R) -> Value {
        self.registers[register.full_register().number()]
    }

    /// The registers by number, with what they hold.
    pub(super) fn registers(&self) -> impl Iterator<Item = (usize, Value)> {
        self.registers.into_iter().enumerate()
    }

    pub(super) fn stores(&self) -> impl Iterator<Item = (Place, Value)> + '_ {
        self.stores.iter().filter(|(_, size, _)| *size == 8).map(|(place, _, value)| (*place, *value))
    }

    /// Where a memory operand lies, if it has no index and no segment.
    pub(super) fn operand(&self, values: &Values, instruction: &Instruction) -> Option<Place> {
        let base = instruction.memory_base();
        let plain = instruction.memory_index() == R::None && instruction.segment_prefix() == R::None;
        (plain && base.is_gpr64())
            .then(|| values.place(self.register(base)).plus(instruction.memory_displacement64().cast_signed()))
    }

    pub(super) fn load(&self, values: &mut Values, place: Place) -> Value {
        let touches = |(at, size, _): &&(Place, usize, Value)| {
            let distance = place.offset.wrapping_sub(at.offset);
            at.base == place.base && distance > -8 && distance < *size as i64
        };
        match self.stores.iter().rev().find(touches) {
            Some((at, 8, value)) if *at == place => *value,
            Some(_) => values.other(),
            None => values.of(Origin::Word(place)),
        }
    }

    /// What a call leaves. A Rust function that returns by reference gives the address of the result back.
    pub(super) fn call(&mut self, values: &mut Values) {
        let (result, frame) = (self.register(R::RDI), values.place(self.register(R::RSP)).base);
        for number in 0..self.registers.len() {
            if !PRESERVED.iter().any(|register| register.number() == number) {
                self.registers[number] = values.other();
            }
        }
        self.registers[R::RAX.number()] = result;
        self.stores.retain(|(at, ..)| at.base == frame);
    }

    /// Carries the state over an instruction that is no call.
    pub(super) fn step(&mut self, values: &mut Values, instruction: &Instruction) {
        let target = instruction.op0_register();
        let to_register = instruction.op0_kind() == OpKind::Register && target.is_gpr64();
        let to_word = instruction.op0_kind() == OpKind::Memory && instruction.memory_size().size() == 8;
        let result = match instruction.mnemonic() {
            Mnemonic::Mov if to_register || to_word => self.source(values, instruction, 1),
            // A write of 32 bits clears the upper half.
            Mnemonic::Mov if instruction.op1_kind() == OpKind::Immediate32 && target.is_gpr32() => {
                let constant = values.of(Origin::Constant(i64::from(instruction.immediate32())));
                return self.set(target, constant);
            }
            Mnemonic::Xor if target.is_gpr() && target == instruction.op1_register() && target.size() >= 4 => {
                let zero = values.of(Origin::Constant(0));
                return self.set(target, zero);
            }
            Mnemonic::Lea if to_register => {
                let base = instruction.memory_base();
                let plain = instruction.memory_index() == R::None && base.is_gpr64();
                plain.then(|| values.plus(self.register(base), instruction.memory_displacement64().cast_signed()))
            }
            Mnemonic::Inc if to_register || to_word => self.sum(values, instruction, Some(1)),
            Mnemonic::Add if to_register || to_word => {
                let by = self.source(values, instruction, 1);
                match by.map(|by| (by, values.origin(by))) {
                    Some((_, Origin::Constant(by))) => self.sum(values, instruction, Some(by)),
                    // `mov eax, 1; add rax, [object+n]`
                    Some((by, _)) if to_register => match values.origin(self.register(target)) {
                        Origin::Constant(constant) => Some(values.plus(by, constant)),
                        _ => None,
                    },
                    _ => None,
                }
            }
            Mnemonic::Sub if to_register || to_word => {
                let by = self.source(values, instruction, 1).map(|by| values.origin(by));
                let by = if let Some(Origin::Constant(by)) = by { Some(by.wrapping_neg()) } else { None };
                self.sum(values, instruction, by)
            }
            Mnemonic::Push | Mnemonic::Pop => {
                let moved = i64::from(instruction.stack_pointer_increment());
                let pushed = self.source(values, instruction, 0).filter(|_| moved < 0);
                self.forget(values, instruction);
                let stack = values.plus(self.register(R::RSP), moved);
                self.registers[R::RSP.number()] = stack;
                if let Some(pushed) = pushed {
                    self.store(values.place(stack), 8, pushed);
                }
                return;
            }
            _ => None,
        };
        match result {
            Some(value) if to_register => self.set(target, value),
            Some(value) => match self.operand(values, instruction) {
                Some(place) => self.store(place, 8, value),
                None => self.forget(values, instruction),
            },
            None => self.forget(values, instruction),
        }
    }

    fn set(&mut self, register: R, value: Value) {
        self.registers[register.full_register().number()] = value;
    }

    /// Two stores to one place are one.
    fn store(&mut self, place: Place, size: usize, value: Value) {
        self.stores.retain(|(at, known, _)| (*at, *known) != (place, size));
        self.stores.push((place, size, value));
    }

    fn source(&self, values: &mut Values, instruction: &Instruction, index: u32) -> Option<Value> {
        match instruction.op_kind(index) {
            OpKind::Register if instruction.op_register(index).is_gpr64() => {
                Some(self.register(instruction.op_register(index)))
            }
            OpKind::Memory if instruction.memory_size().size() == 8 => {
                let place = self.operand(values, instruction)?;
                Some(self.load(values, place))
            }
            OpKind::Immediate8to64 | OpKind::Immediate32to64 | OpKind::Immediate64 => {
                Some(values.of(Origin::Constant(instruction.immediate(index).cast_signed())))
            }
            _ => None,
        }
    }

    fn sum(&self, values: &mut Values, instruction: &Instruction, by: Option<i64>) -> Option<Value> {
        let value = self.source(values, instruction, 0)?;
        Some(values.plus(value, by?))
    }

    /// What an instruction that is not followed writes is something else after it.
    fn forget(&mut self, values: &mut Values, instruction: &Instruction) {
        let writes = |access| {
            matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
        };
        let place = self.operand(values, instruction);
        let info = values.factory.info(instruction);
        let size = info.used_memory().iter().find(|used| writes(used.access())).map(|used| used.memory_size().size());
        let written = info.used_registers().iter().filter(|used| writes(used.access()));
        let written: Vec<R> = written.map(|used| used.register().full_register()).collect();
        for register in written.into_iter().filter(|full| full.is_gpr64() && *full != R::RSP) {
            self.registers[register.number()] = values.other();
        }
        if let (Some(place), Some(size)) = (place, size) {
            let value = values.other();
            self.store(place, size.max(1), value);
        }
    }
}
