//! Where to hook: from the bytes of an ELF file to the file offsets of probes.
//!
//! A pure function. It opens nothing and asks no kernel, so that it is tested on any library anywhere, and it takes the
//! file for hostile: it never panics, and its work is bounded by the size of the file.
//!
//! The cost of a probe is the instruction under it. The kernel emulates `push`, jumps and one-byte `nop`s within the
//! first trap (0.7 µs a hit); any other instruction is stepped out of line under a second trap (9.2 µs). The exported
//! functions begin with the costly kind. So the preferred hooks stand in the functions behind the `ssl_read` and
//! `ssl_write` slots of the method table that `TLS_method` returns. `SSL_read`, `SSL_read_ex`, `SSL_write`,
//! `SSL_write_ex` and `SSL_write_ex2` all pass through them, `SSL_peek` does not, and each has an instruction of the
//! cheap kind where the return address is still on top of the stack, as a return probe demands.

mod boringssl;
mod crates;
mod disasm;
mod elf;
mod frames;
mod functions;
mod gnutls;
mod go;
mod method;
mod openssl;
mod rustls;
mod sources;
mod tables;
mod unhooked;

use serde::{Deserialize, Serialize};

/// Where the hooks of one file go. Offsets are those of the file, as uprobes take them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// `openssl 3.0.15`; without the version where the file does not hold it (`libssl` 3 leaves it to `libcrypto`: see
    /// [`version`]).
    pub library: String,
    /// The functions of the method table, where they were found and proven.
    pub method: Option<Method>,
    /// The exported functions, always: the fallback for `method`, never used together with it, since each call passes
    /// through both.
    pub exported: Vec<Entry>,
    /// `SSL_free(ssl)`: drops a reference.
    pub free: Option<Site>,
    /// `SSL_shutdown(ssl)`.
    pub shutdown: Option<Site>,
    /// `SSL_clear(ssl)`: the object is used for another connection.
    pub clear: Option<Site>,
    /// `SSL_ctrl(ssl, command, larg, parg)`: command 55, type 0 sets the server name to the string `parg`.
    pub ctrl: Option<Site>,
    /// `SSL_set_tlsext_host_name(ssl, name)`, where it is a function (BoringSSL); `gnutls_server_name_set(session, type,
    /// name, length)`.
    pub host_name: Option<Site>,
    /// `SSL_sendfile(ssl, fd, offset, size, flags)`: sends bytes that pass no buffer of the process. The result is
    /// their number.
    pub sendfile: Option<Site>,
    /// Set where no symbol names the functions: they were found by what they do, and what they show must prove it.
    pub stripped: Option<Stripped>,
    /// Probes of stacks whose functions are not of OpenSSL's form.
    pub probes: Vec<Probe>,
}

impl Hooks {
    /// Whether they stand in inner functions that all exported ones call, on instructions that the kernel emulates.
    pub fn are_inner(&self) -> bool {
        let is_record = |entry: &Entry| matches!(entry.function, Function::ReceiveRecord | Function::SendRecord);
        let is_go = |probe: &Probe| probe.program == Program::GoWrite;
        self.method.is_some() || self.exported.iter().any(is_record) || self.probes.iter().any(is_go)
    }
}

/// A probe with an eBPF program of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    pub program: Program,
    /// In the file.
    pub offset: u64,
    /// What the program wants to know of the place; below 2^[`tracer_common::event::PLACE_BITS`]. The number of the
    /// library stands above it in the cookie.
    pub place: u32,
}

/// The eBPF programs that [`Probe`]s name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    GoWrite,
    GoRead,
    GoClose,
    GoHandshake,
    /// rustls is about to seal a record.
    RecordSealed(RecordPlace),
    /// rustls has opened a record.
    RecordOpened(RecordPlace),
}

impl Program {
    /// The function's name in the eBPF object.
    pub fn name(self) -> &'static str {
        match self {
            Self::GoWrite => "go_write",
            Self::GoRead => "go_read",
            Self::GoClose => "go_close",
            Self::GoHandshake => "go_handshake",
            Self::RecordSealed(_) => "record_sealed",
            Self::RecordOpened(_) => "record_opened",
        }
    }

    /// What the program looks up by the number of its place.
    pub fn record(self) -> Option<RecordPlace> {
        match self {
            Self::RecordSealed(place) | Self::RecordOpened(place) => Some(place),
            _ => None,
        }
    }
}

/// Where a record of rustls stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RecordPlace {
    /// The trait object that seals the connection's records, in both directions.
    pub object: Address,
    /// The message to be sealed, or the result of opening one.
    pub message: Address,
    /// From the object to the count of records in this direction, bytes.
    pub count_distance: i32,
    /// Whether the count is raised when the probe is passed.
    pub raised: bool,
    pub form: MessageForm,
}

/// How a release of rustls keeps a message in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MessageForm {
    /// From 0.23 on: one that is sent is in slices, one that was opened lies in the connection's buffer.
    Slices,
    /// 0.20 to 0.22: one that is sent is one slice, one that was opened a vector.
    Buffer,
}

/// A distance from what a register holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    /// By its number in instruction encodings of x86-64; 4 is the stack pointer.
    pub register: u8,
    /// Bytes.
    pub offset: i32,
}

/// How one TLS stack is recognised in a file, and where its probes go. One file of this folder for each.
trait Stack: Sync {
    /// `None`: the file does not hold it.
    fn hooks(&self, elf: &elf::Elf<'_>) -> Option<Result<Hooks, Reason>>;
}

/// In the order in which they are asked.
static STACKS: [&dyn Stack; 7] = [
    &openssl::OpenSsl,
    &boringssl::BoringSsl,
    &tables::StrippedOpenSsl,
    &gnutls::GnuTls,
    &go::Go,
    &rustls::Rustls,
    &unhooked::Unhooked,
];

/// What symbols tell elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stripped {
    /// Offsets in the file of all return instructions of the `exported` functions, or of what writes by the method
    /// table end in; `None` if one of them may end otherwise.
    pub returns: Option<Vec<u64>>,
    /// Why another TLS library in the same file gets no hooks: the program may use that one.
    pub beside: Option<Reason>,
}

/// The two functions below every read and write: `int (SSL *, void *buf, size_t len, size_t *done)`. The result is
/// positive on success, and only then `*done` is the number of bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Method {
    pub read: Site,
    /// Where finished reads pass: with all of these hooked by ordinary probes, `read` needs neither an entry probe nor
    /// a return probe. Empty where not proven: then `read` takes both.
    pub read_returns: Vec<ReadReturn>,
    pub write: Site,
}

/// A place that a read passes when it has ended, with everything that there is to know in registers. The result is in
/// `eax`; it is positive on success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadReturn {
    /// In the file.
    pub offset: u64,
    pub ssl: Register,
    pub buf: Register,
    /// The room in `buf`.
    pub len: Register,
    /// Holds the address of the number of bytes.
    pub done: Register,
    pub peek: Peek,
    pub emulated: Emulated,
}

/// How to tell an `SSL_peek` from a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Peek {
    /// It does not pass here.
    Never,
    /// The low 32 bits of this register are not 0 if it was one.
    Flag(Register),
    /// The compiler has dropped the flag by then. Only reads and peeks during which a TLS 1.2 server renegotiated come
    /// by such a place; take them for reads.
    Lost,
}

/// A function that reads or writes: exported, or what each of the exported ones calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub function: Function,
    pub site: Site,
}

/// The exported functions and the meaning of their arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Function {
    /// `int SSL_read(ssl, buf, int len)`: the result is the number of bytes.
    Read,
    /// `int SSL_read_ex(ssl, buf, size_t len, size_t *done)`: the result is 1 on success.
    ReadEx,
    /// `int SSL_write(ssl, buf, int len)`: the result is the number of bytes.
    Write,
    /// `int SSL_write_ex(ssl, buf, size_t len, size_t *done)`: the result is 1 on success.
    WriteEx,
    /// `int SSL_write_ex2(ssl, buf, size_t len, uint64_t flags, size_t *done)`: the result is 1 on success.
    WriteEx2,
    /// `ssize_t _gnutls_recv_int(session, content type, buf, size_t len, …)`: the result is the number of bytes.
    ReceiveRecord,
    /// `ssize_t _gnutls_send_tlen_int(session, content type, handshake type, epoch, buf, size_t len, …)`: the result is
    /// the number of bytes.
    SendRecord,
}

/// A place for a probe at or shortly after a function's entry, passed once by every call. The stack pointer is that of
/// the entry, so that a return probe may stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// In the file.
    pub offset: u64,
    /// Which register holds the n-th integer argument of the function when the probe fires. `None` for arguments that
    /// the function does not have.
    pub registers: [Option<Register>; 6],
    /// What the kernel emulates there; `None`: the instruction is stepped.
    pub emulated: Option<Emulated>,
}

/// Instructions that every kernel since 5.10 emulates under a uprobe on x86-64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Emulated {
    Push,
    Jump,
    ConditionalJump,
    Nop,
}

/// A general register of x86-64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Register {
    Rax,
    Rcx,
    Rdx,
    Rbx,
    Rbp,
    Rsi,
    Rdi,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
}

impl Register {
    /// By its number in instruction encodings of x86-64. The stack pointer holds no argument.
    fn from_number(number: usize) -> Option<Self> {
        const ORDER: [Option<Register>; 16] = [
            Some(Register::Rax),
            Some(Register::Rcx),
            Some(Register::Rdx),
            Some(Register::Rbx),
            None,
            Some(Register::Rbp),
            Some(Register::Rsi),
            Some(Register::Rdi),
            Some(Register::R8),
            Some(Register::R9),
            Some(Register::R10),
            Some(Register::R11),
            Some(Register::R12),
            Some(Register::R13),
            Some(Register::R14),
            Some(Register::R15),
        ];
        ORDER.get(number).copied().flatten()
    }

    /// Its byte offset in the kernel's `struct pt_regs`, which a uprobe program gets as its context
    /// (`arch/x86/include/uapi/asm/ptrace.h`).
    pub fn pt_regs_offset(self) -> u16 {
        match self {
            Self::R15 => 0,
            Self::R14 => 8,
            Self::R13 => 16,
            Self::R12 => 24,
            Self::Rbp => 32,
            Self::Rbx => 40,
            Self::R11 => 48,
            Self::R10 => 56,
            Self::R9 => 64,
            Self::R8 => 72,
            Self::Rax => 80,
            Self::Rcx => 88,
            Self::Rdx => 96,
            Self::Rsi => 104,
            Self::Rdi => 112,
        }
    }
}

/// Why a file gets no hooks. The text is the second half of a sentence about the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Reason {
    #[error("is not an ELF file")]
    NotElf,
    #[error("is not a well-formed ELF executable or library")]
    Malformed,
    #[error("is built for an architecture that llmtap does not trace (64-bit x86)")]
    Architecture,
    #[error("is larger than 1 GiB, and was not examined")]
    TooLarge,
    #[error("holds no TLS library that llmtap knows")]
    NotTls,
    #[error("holds OpenSSL without its symbols")]
    StrippedOpenSsl,
    #[error("holds BoringSSL without its symbols, in a form that llmtap does not know")]
    StrippedBoringSsl,
    #[error("was hooked without its symbols, showed nothing that could be plaintext, and is left alone")]
    Unproven,
    #[error("is an OpenSSL older than 1.1.1")]
    OldOpenSsl,
    #[error("is LibreSSL")]
    LibreSsl,
    #[error("is GnuTLS in a form that llmtap does not know")]
    GnuTls,
    #[error("is NSS")]
    Nss,
    #[error("is a Java virtual machine, whose TLS is written in Java")]
    Java,
    #[error("is the Erlang virtual machine, whose TLS is written in Erlang")]
    Otp,
    #[error("is a Go program whose crypto/tls is of a form that llmtap does not know")]
    Go,
    #[error("is a Go program built by Go 1.16 or older")]
    OldGo,
    #[error("holds rustls in a form that llmtap does not know")]
    Rustls,
    #[error("speaks WebRTC, whose media and messages travel by UDP and are not read")]
    WebRtc,
    #[error("holds a rustls other than 0.20 to 0.23")]
    OldRustls,
}

impl Reason {
    /// A short stable name, for metrics and for `doctor`.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotElf => "not_elf",
            Self::Malformed => "malformed_elf",
            Self::Architecture => "architecture",
            Self::TooLarge => "too_large",
            Self::NotTls => "no_tls",
            Self::StrippedOpenSsl => "openssl_stripped",
            Self::StrippedBoringSsl => "boringssl_stripped",
            Self::Unproven => "unproven",
            Self::OldOpenSsl => "openssl_old",
            Self::LibreSsl => "libressl",
            Self::GnuTls => "gnutls",
            Self::Nss => "nss",
            Self::Java => "java",
            Self::Otp => "otp",
            Self::Go => "go",
            Self::OldGo => "go_old",
            Self::Rustls => "rustls",
            Self::OldRustls => "rustls_other",
            Self::WebRtc => "webrtc",
        }
    }

    /// What the user can do, as a sentence; `None` where there is nothing to be done.
    pub fn fix(self) -> Option<&'static str> {
        match self {
            Self::NotElf | Self::NotTls => None,
            Self::Malformed => Some("Install the library anew."),
            Self::TooLarge => {
                Some("Use a build without debug information, or one that links its TLS library dynamically.")
            }
            Self::Architecture => Some("Run the program in a build for 64-bit x86, on such a machine."),
            Self::StrippedOpenSsl => Some("Use a build that links libssl dynamically, or one that keeps its symbols."),
            Self::OldGo => Some("Build the program with Go 1.17 or later."),
            Self::OldOpenSsl => Some("Update to OpenSSL 1.1.1 or later."),
            Self::OldRustls => Some("Use a build with a rustls of 0.20 to 0.23."),
            Self::StrippedBoringSsl | Self::Unproven | Self::GnuTls | Self::Go | Self::Rustls => {
                Some("Not traced by this version; let the program talk through one that uses OpenSSL.")
            }
            Self::WebRtc => Some("Let the program use the service's API over HTTP or a WebSocket."),
            Self::LibreSsl => Some("Use a build of the program that is linked with OpenSSL 1.1.1 or later."),
            Self::Nss => Some("Use a build of the program that is linked with OpenSSL or GnuTLS."),
            Self::Java | Self::Otp => Some(
                "Let the program send its calls in plain HTTP to a proxy on this machine that adds TLS, and trace that \
                 (or trace the port with --plaintext), or instrument the program with OpenTelemetry.",
            ),
        }
    }

    /// Whether the file does speak TLS: such a process is told of, the others are not.
    pub fn is_tls(self) -> bool {
        !matches!(self, Self::NotElf | Self::Malformed | Self::Architecture | Self::TooLarge | Self::NotTls)
    }
}

/// Finds the hooks in the ELF file whose bytes are `file`.
pub fn locate(file: &[u8]) -> Result<Hooks, Reason> {
    let elf = elf::Elf::parse(file)?;
    let mut refused = None;
    let mut found: Option<Hooks> = None;
    for answer in STACKS.iter().filter_map(|stack| stack.hooks(&elf)) {
        match (answer, &mut found) {
            (Ok(hooks), None) => found = Some(hooks),
            // A program may hold several: the functions of one are enough for the plan, probes go beside any.
            (Ok(hooks), Some(found)) if !hooks.probes.is_empty() => {
                found.library = format!("{}, {}", found.library, hooks.library);
                found.probes.extend(hooks.probes);
            }
            // Of two that are told by what they do, the second is as if it had not been found.
            (Ok(hooks), Some(_)) if hooks.stripped.is_some() => refused = refused.or(Some(Reason::StrippedOpenSsl)),
            (Ok(_), Some(_)) => {}
            // It goes by another way than what is hooked.
            (Err(Reason::WebRtc), Some(_)) => {}
            (Err(reason), _) => refused = refused.or(Some(reason)),
        }
    }
    let mut found = found.ok_or(refused.unwrap_or(Reason::NotTls))?;
    if let Some(stripped) = &mut found.stripped {
        stripped.beside = refused;
    }
    Ok(found)
}

/// The return instructions of the functions behind [`Function::ReceiveRecord`] and [`Function::SendRecord`], which have no
/// symbols: offsets in the file. `None` if one of them may end otherwise.
pub fn record_returns(file: &[u8]) -> Option<Vec<u64>> {
    gnutls::returns(&elf::Elf::parse(file).ok()?)
}

/// The version that a file's own text tells, as `3.0.15`: for a `libcrypto` that a `libssl` of the same process uses.
pub fn version(file: &[u8]) -> Option<String> {
    openssl::version(&elf::Elf::parse(file).ok()?)
}

/// What the fuzzer runs.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok(hooks) = locate(data) {
        let sites = hooks.exported.iter().map(|entry| entry.site);
        let sites = sites.chain(hooks.method.iter().flat_map(|method| [method.read, method.write]));
        let others = [hooks.free, hooks.shutdown, hooks.clear, hooks.ctrl, hooks.host_name];
        let sites = sites.chain(others.into_iter().flatten());
        let returns = hooks.stripped.iter().filter_map(|stripped| stripped.returns.as_ref()).flatten();
        let probes = hooks.probes.iter().map(|probe| probe.offset);
        for offset in sites.map(|site| site.offset).chain(returns.copied()).chain(probes) {
            assert!(offset < data.len() as u64, "a site lies inside the file");
        }
    }
    let _ = version(data);
}

#[cfg(test)]
mod tests;
