//! What a process that is held inside execve(2) is about to run. Its old memory, with the arguments of the call, is
//! still there.

use std::{
    ffi::OsString,
    fs::{self, File},
    os::unix::{ffi::OsStringExt as _, fs::FileExt as _},
};

use crate::capture::packages::VARIABLES;

/// Variables of the environment that are looked at, most.
const MAX_VARIABLES: usize = 4096;
/// Arguments that are looked at, most.
const MAX_ARGUMENTS: usize = 256;
/// Longest value, bytes.
const MAX_VALUE: usize = 4096;

/// The system calls execve and execveat, and where among their arguments the name of the file stands; that of the
/// environment is the second after it.
#[cfg(target_arch = "x86_64")]
const CALLS: [(u64, usize); 2] = [(59, 0), (322, 1)];
#[cfg(not(target_arch = "x86_64"))]
const CALLS: [(u64, usize); 2] = [(221, 0), (281, 1)];

/// The variables of the environment to come that say where the dynamic linker (ld.so(8)) and interpreters look. None of those
/// that are not set or cannot be read.
pub fn search_variables(pid: u32) -> Vec<(OsString, OsString)> {
    let Some((memory, [_, _, array])) = arguments(pid) else { return Vec::new() };
    let pointers = pointers(&memory, array);
    pointers.into_iter().filter_map(|pointer| variable(&memory, pointer)).collect()
}

/// What the process calls the file that it executes.
pub fn called(pid: u32) -> Option<OsString> {
    let (memory, [name, ..]) = arguments(pid)?;
    text(&memory, name)
}

/// The arguments that the program will get; the first ones, where there are many or one is very long.
pub fn command_line(pid: u32) -> Vec<OsString> {
    let Some((memory, [_, array, _])) = arguments(pid) else { return Vec::new() };
    pointers(&memory, array).into_iter().take(MAX_ARGUMENTS).map_while(|pointer| text(&memory, pointer)).collect()
}

/// The environment that the program will get.
pub fn environment(pid: u32) -> Vec<OsString> {
    let Some((memory, [_, _, array])) = arguments(pid) else { return Vec::new() };
    pointers(&memory, array).into_iter().filter_map(|pointer| text(&memory, pointer)).collect()
}

/// The memory, and the addresses of the name, of the arguments and of the environment.
fn arguments(pid: u32) -> Option<(File, [u64; 3])> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let call = |task: fs::DirEntry| fs::read_to_string(task.path().join("syscall")).ok();
    let found = tasks.flatten().filter_map(call).find_map(|call| addresses(&call))?;
    Some((File::open(format!("/proc/{pid}/mem")).ok()?, found))
}

/// From a line of `/proc/PID/task/TID/syscall`: the call's number, its arguments in hexadecimal, and two registers.
fn addresses(line: &str) -> Option<[u64; 3]> {
    let mut fields = line.split_ascii_whitespace();
    let number: u64 = fields.next()?.parse().ok()?;
    let (_, first) = CALLS.into_iter().find(|(call, _)| *call == number)?;
    let mut address = |skipped| u64::from_str_radix(fields.nth(skipped)?.strip_prefix("0x")?, 16).ok();
    Some([address(first)?, address(0)?, address(0)?])
}

fn text(memory: &File, at: u64) -> Option<OsString> {
    let mut bytes = vec![0_u8; MAX_VALUE];
    let length = memory.read_at(&mut bytes, at).ok()?;
    bytes.truncate(memchr::memchr(0, bytes.get(..length)?)?);
    Some(OsString::from_vec(bytes))
}

fn pointers(memory: &File, mut at: u64) -> Vec<u64> {
    let mut found = Vec::new();
    let mut piece = [0_u8; 512];
    while found.len() < MAX_VARIABLES {
        // The next page may not be there.
        let Ok(length @ 8..) = memory.read_at(&mut piece, at) else { break };
        for word in piece[..length].as_chunks::<8>().0 {
            match u64::from_ne_bytes(*word) {
                0 => return found,
                pointer => found.push(pointer),
            }
        }
        at += (length - length % 8) as u64;
    }
    found
}

fn variable(memory: &File, at: u64) -> Option<(OsString, OsString)> {
    const LINKER: &str = "LD_LIBRARY_PATH";
    let mut start = [0_u8; LINKER.len() + 1];
    let length = memory.read_at(&mut start, at).ok()?;
    let name = [LINKER]
        .into_iter()
        .chain(VARIABLES)
        .find(|name| start[..length].strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'=')))?;
    Some((name.into(), text(memory, at + name.len() as u64 + 1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_tells_where_its_name_and_environment_are() {
        let line = |text: &str| addresses(text);
        let (exec, execat) = (CALLS[0].0, CALLS[1].0);
        assert_eq!(line(&format!("{exec} 0x1 0x2 0x3f0 0x4 0x5 0x6 0x7 0x8\n")), Some([0x1, 0x2, 0x3f0]));
        assert_eq!(line(&format!("{execat} 0x1 0x2 0x3 0x4f0 0x5 0x6 0x7 0x8\n")), Some([0x2, 0x3, 0x4f0]));
        assert_eq!(line("0 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8\n"), None);
        assert_eq!(line("running\n"), None);
        assert_eq!(line("-1 0x7 0x8\n"), None);
    }

    #[test]
    fn variables_are_read_from_memory() {
        let own = File::open("/proc/self/mem").unwrap();
        let strings = [c"A=1", c"LD_LIBRARY_PATH=/x:/y", c"LD_LIBRARY_PATHS=n", c"HOME=/h", c"HOMES=/n"];
        let array: Vec<u64> = strings.iter().map(|text| text.as_ptr() as u64).chain([0, 1]).collect();
        let pointers = pointers(&own, array.as_ptr() as u64);
        assert_eq!(pointers, array[..5]);
        let found: Vec<_> = pointers.into_iter().filter_map(|at| variable(&own, at)).collect();
        let wanted = [("LD_LIBRARY_PATH", "/x:/y"), ("HOME", "/h")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(found, wanted);
        assert_eq!(variable(&own, 8), None);
    }
}
