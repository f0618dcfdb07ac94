//! Loads and attaches the hook programs.
//!
//! aya parses the object, creates its maps and loads its raw tracepoints. The programs of uprobes are loaded here,
//! from the same relocated object, since aya fixes the way of attaching by the section's name and knows no uprobe
//! sessions: one program serves perf uprobes, uprobe_multi or sessions, whatever the kernel has.

use std::{
    collections::HashMap,
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::{Object, generated::bpf_insn};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_PROG_TYPE_KPROBE: u32 = 2;
const BPF_PERF_EVENT: u32 = 41;
const BPF_TRACE_UPROBE_MULTI: u32 = 48;
const BPF_TRACE_UPROBE_SESSION: u32 = 57;
const BPF_F_UPROBE_MULTI_RETURN: u32 = 1;

const OP_CALL: u8 = 0x85;
/// To the lower half of a register; the upper one becomes 0.
const OP_MOVE_IMMEDIATE: u8 = 0xb4;
const PSEUDO_KFUNC_CALL: u8 = 2;
/// Stands for `bpf_session_is_return` in the object.
const SESSION_IS_RETURN: i32 = 0x7fff_ff01;
const HELPER_ATTACH_COOKIE: i32 = 174;

/// The verifier's words about a refused program are cut to this many bytes.
const VERIFIER_LOG: usize = 1 << 20;
/// Of those, the last that an error shows.
const SHOWN_LOG: usize = 600;

/// How probes are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttachMode {
    /// 6.13 and later: each entry decides whether its return is hooked.
    Session,
    /// 6.6 and later: many sites in one link.
    Multi,
    /// One perf event a site, with a cookie (5.15 and later).
    Perf,
    /// As before, on kernels without cookies: the program carries the cookie as a constant.
    PerfConstant,
}

impl AttachMode {
    const fn attach_type(self) -> u32 {
        match self {
            Self::Session => BPF_TRACE_UPROBE_SESSION,
            Self::Multi => BPF_TRACE_UPROBE_MULTI,
            Self::Perf | Self::PerfConstant => 0,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("the eBPF object cannot be used: {0}")]
    Object(String),
    #[error("the kernel refused program {name}: {error}{log}")]
    Refused { name: String, error: io::Error, log: String },
    #[error("attaching failed: {0}")]
    Attach(io::Error),
}

/// Programs of the object, relocated to the maps, not yet loaded.
pub struct Programs {
    instructions: HashMap<String, Vec<bpf_insn>>,
    /// BTF id of `bpf_session_is_return`.
    session_is_return: Option<u32>,
    /// Programs are loaded whenever they are first needed, and name their maps by these.
    _maps: HashMap<String, OwnedFd>,
}

impl Programs {
    /// Parses `object` and ties it to the maps that were created for it, by name.
    pub fn new(object: &[u8], maps: HashMap<String, OwnedFd>, session: Option<u32>) -> Result<Self, ProgramError> {
        let unusable = |error: &dyn std::fmt::Display| ProgramError::Object(error.to_string());
        let mut object = Object::parse(object).map_err(|error| unusable(&error))?;
        let text = object.functions.keys().map(|(section, _)| *section).collect();
        let own_maps = std::mem::take(&mut object.maps);
        let known = own_maps.iter().filter_map(|(name, map)| Some((name.as_str(), maps.get(name)?.as_raw_fd(), map)));
        object.relocate_maps(known, &text).map_err(|error| unusable(&error))?;
        object.relocate_calls(&text).map_err(|error| unusable(&error))?;
        let instructions = object
            .programs
            .iter()
            .filter_map(|(name, program)| {
                let function = object.functions.get(&program.function_key())?;
                Some((name.clone(), function.instructions.clone()))
            })
            .collect();
        Ok(Self { instructions, session_is_return: session, _maps: maps })
    }

    /// Loads one program for `mode`; `cookie` is built in where the mode needs that.
    pub fn load(&self, name: &str, mode: AttachMode, cookie: u32) -> Result<OwnedFd, ProgramError> {
        let Some(original) = self.instructions.get(name) else {
            return Err(ProgramError::Object(format!("no program {name}")));
        };
        let mut instructions = original.clone();
        for instruction in &mut instructions {
            if instruction.code != OP_CALL || instruction.src_reg() != 0 {
                continue;
            }
            match (instruction.imm, self.session_is_return) {
                (SESSION_IS_RETURN, Some(id)) => {
                    instruction.set_src_reg(PSEUDO_KFUNC_CALL);
                    instruction.imm = id.cast_signed();
                }
                (HELPER_ATTACH_COOKIE, _) if mode == AttachMode::PerfConstant => {
                    instruction.code = OP_MOVE_IMMEDIATE;
                    instruction.set_dst_reg(0);
                    instruction.imm = cookie.cast_signed();
                }
                _ => {}
            }
        }
        load(name, &instructions, mode.attach_type())
    }
}

#[repr(C)]
#[derive(Default)]
struct ProgramLoad {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    expected_attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    /// For perf events: the cookie. For uprobe_multi: the path.
    first: u64,
    offsets: u64,
    reference_counters: u64,
    cookies: u64,
    count: u32,
    multi_flags: u32,
    pid: u32,
    reserved: u32,
}

#[expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]
fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: `attributes` is a plain structure of the size given, whose pointers are valid during the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the commands used here return a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(result as RawFd) })
}

fn load(name: &str, instructions: &[bpf_insn], attach_type: u32) -> Result<OwnedFd, ProgramError> {
    const LICENSE: &[u8] = b"GPL\0";
    let mut attributes = ProgramLoad {
        program_type: BPF_PROG_TYPE_KPROBE,
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        expected_attach_type: attach_type,
        ..ProgramLoad::default()
    };
    // The last byte stays zero, as the kernel wants the name terminated.
    for (to, from) in attributes.name[..15].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    let error = match bpf(BPF_PROG_LOAD, &mut attributes) {
        Ok(program) => return Ok(program),
        Err(error) => error,
    };
    if error.raw_os_error() == Some(libc::EPERM) {
        return Err(ProgramError::Refused { name: name.into(), error, log: String::new() });
    }
    // Only a refused program is worth the verifier's words.
    let mut log = vec![0_u8; VERIFIER_LOG];
    attributes.log_level = 1;
    attributes.log_size = log.len() as u32;
    attributes.log_buffer = log.as_mut_ptr() as u64;
    match bpf(BPF_PROG_LOAD, &mut attributes) {
        Ok(program) => Ok(program),
        Err(error) => {
            let end = memchr::memchr(0, &log).unwrap_or(log.len());
            let log = String::from_utf8_lossy(&log[end.saturating_sub(SHOWN_LOG)..end]).trim().replace('\n', "; ");
            let log = if log.is_empty() { log } else { format!(" ({log})") };
            Err(ProgramError::Refused { name: name.into(), error, log })
        }
    }
}

fn c_path(path: &Path) -> Result<CString, ProgramError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|error| ProgramError::Attach(error.into()))
}

/// Attaches one program to many sites of a file, for all processes or for one.
pub fn attach_multi(
    program: BorrowedFd<'_>,
    mode: AttachMode,
    path: &Path,
    sites: &[(u64, u64)],
    on_return: bool,
    pid: Option<u32>,
) -> Result<OwnedFd, ProgramError> {
    let path = c_path(path)?;
    let offsets: Vec<u64> = sites.iter().map(|(offset, _)| *offset).collect();
    let cookies: Vec<u64> = sites.iter().map(|(_, cookie)| *cookie).collect();
    let mut attributes = LinkCreate {
        program: program.as_raw_fd() as u32,
        attach_type: mode.attach_type(),
        first: path.as_ptr() as u64,
        offsets: offsets.as_ptr() as u64,
        cookies: cookies.as_ptr() as u64,
        count: sites.len() as u32,
        multi_flags: if on_return { BPF_F_UPROBE_MULTI_RETURN } else { 0 },
        pid: pid.unwrap_or(0),
        ..LinkCreate::default()
    };
    bpf(BPF_LINK_CREATE, &mut attributes).map_err(ProgramError::Attach)
}

/// What keeps a perf uprobe in place.
pub struct PerfProbe {
    _event: OwnedFd,
    _link: Option<OwnedFd>,
}

/// Attaches one program to one site by a perf event.
#[expect(unsafe_code, reason = "perf_event_open(2) and its ioctls have no safe wrapper")]
pub fn attach_perf(
    program: BorrowedFd<'_>,
    mode: AttachMode,
    path: &Path,
    offset: u64,
    cookie: u64,
) -> Result<PerfProbe, ProgramError> {
    const IOC_ENABLE: libc::c_ulong = 0x2400;
    const IOC_SET_BPF: libc::c_ulong = 0x4004_2408;
    let path = c_path(path)?;
    let kind = std::fs::read_to_string("/sys/bus/event_source/devices/uprobe/type").map_err(ProgramError::Attach)?;
    let kind: u32 = kind.trim().parse().map_err(|_| ProgramError::Attach(io::ErrorKind::InvalidData.into()))?;
    let attributes = super::perf::Attributes::uprobe(kind, &path, offset);
    // One event on CPU 0: the program runs wherever the site is hit.
    let event = super::perf::open(&attributes, 0).map_err(ProgramError::Attach)?;
    if mode == AttachMode::Perf {
        let mut attributes = LinkCreate {
            program: program.as_raw_fd() as u32,
            target: event.as_raw_fd() as u32,
            attach_type: BPF_PERF_EVENT,
            first: cookie,
            ..LinkCreate::default()
        };
        let link = bpf(BPF_LINK_CREATE, &mut attributes).map_err(ProgramError::Attach)?;
        return Ok(PerfProbe { _event: event, _link: Some(link) });
    }
    // SAFETY: both requests take a number, and the descriptors are open.
    let failed = unsafe {
        libc::ioctl(event.as_raw_fd(), IOC_SET_BPF as _, program.as_raw_fd()) < 0
            || libc::ioctl(event.as_raw_fd(), IOC_ENABLE as _, 0) < 0
    };
    if failed {
        return Err(ProgramError::Attach(io::Error::last_os_error()));
    }
    Ok(PerfProbe { _event: event, _link: None })
}
