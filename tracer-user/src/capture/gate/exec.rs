//! What a process that is held inside execve(2) is about to run. Its old memory, with the arguments of the call, is
//! still there.

use std::{
    ffi::OsString,
    fs::{self, File},
    os::unix::{ffi::OsStringExt as _, fs::FileExt as _},
};

/// Variables of the environment that are looked at, most.
const MAX_VARIABLES: usize = 4096;
/// Longest value, bytes.
const MAX_VALUE: usize = 4096;

#[cfg(target_arch = "x86_64")]
const CALLS: [(u64, usize); 2] = [(59, 2), (322, 3)];
#[cfg(not(target_arch = "x86_64"))]
const CALLS: [(u64, usize); 2] = [(221, 2), (281, 3)];

/// The variable of the environment to come that says where the dynamic linker looks (ld.so(8)). None when it is not set
/// or cannot be read.
pub fn linker_variables(pid: u32) -> Vec<(OsString, OsString)> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let call = |task: fs::DirEntry| fs::read_to_string(task.path().join("syscall")).ok();
    let Some(array) = tasks.flatten().filter_map(call).find_map(|call| environment_array(&call)) else {
        return Vec::new();
    };
    let Ok(memory) = File::open(format!("/proc/{pid}/mem")) else { return Vec::new() };
    let pointers = pointers(&memory, array);
    pointers.into_iter().filter_map(|pointer| variable(&memory, pointer)).collect()
}

/// Address of the array of variables, from a line of `/proc/PID/task/TID/syscall`: the call's number, its arguments in
/// hexadecimal, and two registers.
fn environment_array(line: &str) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace();
    let number: u64 = fields.next()?.parse().ok()?;
    let (_, argument) = CALLS.into_iter().find(|(call, _)| *call == number)?;
    u64::from_str_radix(fields.nth(argument)?.strip_prefix("0x")?, 16).ok()
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
    const NAME: &str = "LD_LIBRARY_PATH";
    let mut start = [0_u8; NAME.len() + 1];
    let length = memory.read_at(&mut start, at).ok()?;
    if start[..length].strip_prefix(NAME.as_bytes()) != Some(b"=") {
        return None;
    }
    let mut value = vec![0_u8; MAX_VALUE];
    let length = memory.read_at(&mut value, at + start.len() as u64).ok()?;
    value.truncate(memchr::memchr(0, value.get(..length)?)?);
    Some((NAME.into(), OsString::from_vec(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_tells_where_its_environment_is() {
        let line = |text: &str| environment_array(text);
        let (exec, execat) = (CALLS[0].0, CALLS[1].0);
        assert_eq!(line(&format!("{exec} 0x1 0x2 0x3f0 0x4 0x5 0x6 0x7 0x8\n")), Some(0x3f0));
        assert_eq!(line(&format!("{execat} 0x1 0x2 0x3 0x4f0 0x5 0x6 0x7 0x8\n")), Some(0x4f0));
        assert_eq!(line("0 0x1 0x2 0x3 0x4 0x5 0x6 0x7 0x8\n"), None);
        assert_eq!(line("running\n"), None);
        assert_eq!(line("-1 0x7 0x8\n"), None);
    }

    #[test]
    fn variables_are_read_from_memory() {
        let own = File::open("/proc/self/mem").unwrap();
        let strings = [c"A=1", c"LD_LIBRARY_PATH=/x:/y", c"LD_LIBRARY_PATHS=n"];
        let array: Vec<u64> = strings.iter().map(|text| text.as_ptr() as u64).chain([0, 1]).collect();
        let pointers = pointers(&own, array.as_ptr() as u64);
        assert_eq!(pointers, array[..3]);
        let found: Vec<_> = pointers.into_iter().filter_map(|at| variable(&own, at)).collect();
        assert_eq!(found, [("LD_LIBRARY_PATH".into(), "/x:/y".into())]);
        assert_eq!(variable(&own, 8), None);
    }
}
