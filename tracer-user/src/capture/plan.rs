//! From what a file holds to the probes that are put there.

use tracer_common::event::{ArgumentRegisters, CallResult, Cookie, PLACE_BITS, ReadCookie, Register, direction, fact};

use super::{
    locate::{self, Function, Hooks, Peek, ReadReturn, Site},
    program::AttachMode,
};

/// A site of a read or write function.
#[derive(Debug, Clone)]
pub(super) struct CallSite {
    pub offset: u64,
    pub cookie: Cookie,
}

/// Where the probes of one file go.
pub(super) struct Plan {
    pub calls: Vec<CallSite>,
    /// Where finished reads pass; with these, reads are not among `calls`.
    pub reads: Vec<(u64, u32)>,
    /// Return instructions of the functions that `calls` enter, where the kernel cannot tell safe returns from others.
    pub exits: Vec<u64>,
    pub facts: Vec<(u64, u32)>,
    /// Of stacks with programs of their own: program, offset, cookie.
    pub others: Vec<(&'static str, u64, u32)>,
}

impl Plan {
    /// Chooses the method table's functions, or else the exported ones; these also without sessions, where they are known,
    /// except that reads are seen where they return in any mode.
    pub fn of(hooks: &Hooks, library: u32, mode: AttachMode) -> Self {
        let placed = |site: &Site, direction, result, [buffer, length, done]: [usize; 3]| {
            let registers = ArgumentRegisters {
                ssl: register(site.registers[0]?),
                buffer: register(site.registers[buffer]?),
                length: register(site.registers[length]?),
                done: if result == CallResult::Count { Register::Rcx } else { register(site.registers[done]?) },
            };
            Some(CallSite { offset: site.offset, cookie: Cookie::new(direction, result, registers, library) })
        };
        let call = |site: &Site, direction, result, done: usize| placed(site, direction, result, [1, 2, done]);
        let returns = hooks.method.as_ref().map_or(&[][..], |method| &method.read_returns);
        // A read that passes one of them must not be counted at its entry too.
        let reads: Vec<_> = returns.iter().map(|one| (one.offset, finished_read(one, library))).collect();
        let is_inner = mode == AttachMode::Session || hooks.exported.is_empty();
        let calls = match hooks.method.as_ref().filter(|_| is_inner) {
            Some(method) if !reads.is_empty() => vec![call(&method.write, direction::SEND, CallResult::ByPointer, 3)],
            Some(method) => vec![
                call(&method.read, direction::RECEIVE, CallResult::ByPointer, 3),
                call(&method.write, direction::SEND, CallResult::ByPointer, 3),
            ],
            None => hooks
                .exported
                .iter()
                .filter(|entry| reads.is_empty() || !matches!(entry.function, Function::Read | Function::ReadEx))
                .map(|entry| {
                    let (direction, result, done) = match entry.function {
                        Function::Read => (direction::RECEIVE, CallResult::Count, 3),
                        Function::ReadEx => (direction::RECEIVE, CallResult::ByPointerOrZero, 3),
                        Function::Write => (direction::SEND, CallResult::Count, 3),
                        Function::WriteEx => (direction::SEND, CallResult::ByPointerOrZero, 3),
                        Function::WriteEx2 => (direction::SEND, CallResult::ByPointerOrZero, 4),
                        Function::ReceiveRecord => {
                            return placed(&entry.site, direction::RECEIVE, CallResult::Record, [2, 3, 1]);
                        }
                        Function::SendRecord => {
                            return placed(&entry.site, direction::SEND, CallResult::Record, [4, 5, 1]);
                        }
                    };
                    call(&entry.site, direction, result, done)
                })
                .collect(),
        };
        // The file's number stands where a buffer would: nothing can be read there, so that the bytes that were sent are told
        // as lost. Elsewhere the return of such a call is not seen.
        let sendfile = hooks.sendfile.filter(|_| mode == AttachMode::Session);
        let sendfile = sendfile.map(|site| placed(&site, direction::SEND, CallResult::Count, [1, 3, 3]));
        let has_type = hooks.host_name.is_some_and(|site| site.registers[3].is_some());
        let facts = [
            (hooks.free, fact::FREED),
            (hooks.shutdown, fact::SHUT_DOWN),
            (hooks.clear, fact::CLEARED),
            (hooks.ctrl, fact::CONTROL),
            (hooks.host_name, if has_type { fact::TYPED_NAME } else { fact::HOST_NAME }),
        ];
        // The program reads these functions' arguments where the ABI passes them.
        let plain = |site: &Site| {
            let abi = [locate::Register::Rdi, locate::Register::Rsi, locate::Register::Rdx, locate::Register::Rcx];
            site.registers.iter().zip(abi).all(|(at, expected)| at.is_none_or(|at| at == expected))
        };
        Self {
            exits: Vec::new(),
            calls: calls.into_iter().chain(sendfile).flatten().collect(),
            reads,
            facts: facts
                .into_iter()
                .filter_map(|(site, what)| Some((site.filter(plain)?.offset, what | library << fact::LIBRARY_SHIFT)))
                .collect(),
            others: hooks
                .probes
                .iter()
                .map(|probe| (probe.program.name(), probe.offset, probe.place | library << PLACE_BITS))
                .collect(),
        }
    }
}

fn finished_read(at: &ReadReturn, library: u32) -> u32 {
    let registers = ArgumentRegisters {
        ssl: register(at.ssl),
        buffer: register(at.buf),
        length: register(at.len),
        done: register(at.done),
    };
    let peek = match at.peek {
        Peek::Flag(flag) => Some(register(flag)),
        Peek::Never | Peek::Lost => None,
    };
    ReadCookie::new(registers, peek, library).0
}

fn register(at: locate::Register) -> Register {
    match at {
        locate::Register::Rax => Register::Rax,
        locate::Register::Rcx => Register::Rcx,
        locate::Register::Rdx => Register::Rdx,
        locate::Register::Rbx => Register::Rbx,
        locate::Register::Rbp => Register::Rbp,
        locate::Register::Rsi => Register::Rsi,
        locate::Register::Rdi => Register::Rdi,
        locate::Register::R8 => Register::R8,
        locate::Register::R9 => Register::R9,
        locate::Register::R10 => Register::R10,
        locate::Register::R11 => Register::R11,
        locate::Register::R12 => Register::R12,
        locate::Register::R13 => Register::R13,
        locate::Register::R14 => Register::R14,
        locate::Register::R15 => Register::R15,
    }
}
