//! Finds the return instructions of functions: places for ordinary probes that see a call's result without touching
//! the stack, on kernels where return probes cannot be made safe.

use iced_x86::{Decoder, DecoderOptions, FlowControl};
use object::{Object as _, ObjectSegment as _, ObjectSymbol as _};

use super::locate::{self, Function};

/// Functions longer than this, bytes, are none of those that are looked for.
const MAX_FUNCTION: u64 = 64 << 10;

/// File offsets of all return instructions of the exported functions; `None` if one of them may end otherwise, by a
/// jump to another function.
#[must_use]
pub fn of(file: &[u8], functions: &[Function]) -> Option<Vec<u64>> {
    if functions.iter().any(|function| matches!(function, Function::ReceiveRecord | Function::SendRecord)) {
        return locate::record_returns(file);
    }
    let elf = object::File::parse(file).ok()?;
    if elf.architecture() != object::Architecture::X86_64 {
        return None;
    }
    let mut exits = Vec::new();
    for function in functions {
        let name = match function {
            Function::Read => "SSL_read",
            Function::ReadEx => "SSL_read_ex",
            Function::Write => "SSL_write",
            Function::WriteEx => "SSL_write_ex",
            Function::WriteEx2 => "SSL_write_ex2",
            Function::ReceiveRecord | Function::SendRecord => return None,
        };
        let is_it = |symbol: &object::Symbol<'_, '_>| symbol.name_bytes() == Ok(name.as_bytes()) && symbol.size() != 0;
        let symbol = elf.dynamic_symbols().find(is_it).or_else(|| elf.symbols().find(is_it))?;
        let (address, size) = (symbol.address(), symbol.size());
        let (segment, data) = elf.segments().find_map(|segment| {
            let inside = address >= segment.address() && address + size <= segment.address() + segment.size();
            inside.then(|| Some((segment.address(), segment.data().ok()?)))?.filter(|_| size <= MAX_FUNCTION)
        })?;
        let start = usize::try_from(address - segment).ok()?;
        let code = data.get(start..start.checked_add(usize::try_from(size).ok()?)?)?;
        // Where the segment stands in the file.
        let segment_offset = (data.as_ptr() as usize).checked_sub(file.as_ptr() as usize)? as u64;
        let found = returns(code, address)?;
        exits.extend(found.into_iter().map(|at| at - segment + segment_offset));
    }
    exits.sort_unstable();
    exits.dedup();
    (!exits.is_empty()).then_some(exits)
}

/// Addresses of the return instructions in `code`, which stands at `address`.
fn returns(code: &[u8], address: u64) -> Option<Vec<u64>> {
    let inside = address..address + code.len() as u64;
    let mut found = Vec::new();
    for instruction in Decoder::with_ip(64, code, address, DecoderOptions::NONE) {
        match instruction.flow_control() {
            FlowControl::Return => found.push(instruction.ip()),
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch
                if !inside.contains(&instruction.near_branch_target()) =>
            {
                return None;
            }
            FlowControl::IndirectBranch | FlowControl::Exception => return None,
            _ if instruction.is_invalid() => return None,
            _ => {}
        }
    }
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::returns;

    #[test]
    fn every_return_is_found() {
        // test edi, edi; je +2; ret; nop; xor eax, eax; ret
        let code = [0x85, 0xff, 0x74, 0x02, 0xc3, 0x90, 0x31, 0xc0, 0xc3];
        assert_eq!(returns(&code, 0x1000), Some(vec![0x1004, 0x1008]));
    }

    #[test]
    fn a_function_that_ends_in_another_is_refused() {
        // test edi, edi; je +2; ret; jmp away
        assert_eq!(returns(&[0x85, 0xff, 0x74, 0x01, 0xc3, 0xe9, 0, 1, 0, 0], 0x1000), None);
        // jmp rax
        assert_eq!(returns(&[0xff, 0xe0], 0x1000), None);
    }
}
