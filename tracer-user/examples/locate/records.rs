//! The truth about rustls, from the debug information of a build: which calls seal and open records.

use addr2line::Context;
use anyhow::{Context as _, Result, anyhow};
use iced_x86::{Code, Decoder, DecoderOptions, OpKind, Register};
use llmtap::capture::locate::{Hooks, Program};
use object::{Object as _, ObjectSection as _, ObjectSegment as _, SectionKind};

/// The functions that call the trait objects, wherever the compiler has put their code.
const SEALS: &str = "rustls::record_layer::RecordLayer::encrypt_outgoing";
const OPENS: &str = "rustls::record_layer::RecordLayer::decrypt_incoming";
/// How far a probe may stand from its call, bytes: before a record is sealed, after it was opened.
const NEAR: u64 = 512;

#[derive(Default)]
pub struct Judged {
    pub right: usize,
    pub wrong: usize,
    /// Calls without a probe.
    pub missed: usize,
}

/// Compares the probes with the calls that the debug information in `full` tells of.
pub fn judge(hooks: &Hooks, full: &[u8]) -> Result<Judged> {
    let file = object::File::parse(full)?;
    let section = |id: addr2line::gimli::SectionId| -> Result<_> {
        let data = file.section_by_name(id.name()).and_then(|section| section.data().ok()).unwrap_or_default();
        Ok(addr2line::gimli::EndianSlice::new(data, addr2line::gimli::LittleEndian))
    };
    let context = Context::from_dwarf(addr2line::gimli::Dwarf::load(section)?)?;
    let innermost = |address: u64| -> Option<String> {
        let frame = context.find_frames(address).skip_all_loads().ok()?.next().ok()??;
        Some(plain(&frame.function?.demangle().ok()?))
    };
    let (mut seals, mut opens) = (Vec::new(), Vec::new());
    for text in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        for instruction in &mut Decoder::with_ip(64, text.data()?, text.address(), DecoderOptions::NONE) {
            let indirect = instruction.code() == Code::Call_rm64
                && !(instruction.op0_kind() == OpKind::Memory && instruction.memory_base() == Register::RIP);
            match innermost(instruction.ip()).filter(|_| indirect).as_deref() {
                Some(SEALS) => seals.push(instruction.ip()),
                Some(OPENS) => opens.push(instruction.ip()),
                _ => {}
            }
        }
    }
    let mut judged = Judged::default();
    let (mut sealed, mut opened) = (Vec::new(), Vec::new());
    for probe in &hooks.probes {
        let address = address(&file, probe.offset).ok_or_else(|| anyhow!("{:#x} is in no segment", probe.offset))?;
        let (calls, of, near) = match probe.program {
            Program::RecordSealed(_) => (&seals, &mut sealed, address..address + NEAR),
            Program::RecordOpened(_) => (&opens, &mut opened, address.saturating_sub(NEAR)..address),
            _ => continue,
        };
        // Two calls may lead to one place.
        let near: Vec<u64> = calls.iter().copied().filter(|call| near.contains(call)).collect();
        if near.is_empty() {
            judged.wrong += 1;
        } else {
            judged.right += 1;
        }
        of.extend(match probe.program {
            Program::RecordSealed(_) => near.into_iter().min(),
            _ => near.into_iter().max(),
        });
    }
    let missed = |calls: &[u64], of: &[u64]| calls.iter().filter(|call| !of.contains(call)).count();
    judged.missed = missed(&seals, &sealed) + missed(&opens, &opened);
    (!seals.is_empty() && !opens.is_empty()).then_some(judged).context("no debug information about rustls")
}

/// Without the marks of an inherent method and the hash at the end: `<a::B>::c` is `a::B::c`.
fn plain(name: &str) -> String {
    let name = name.strip_prefix('<').map_or_else(|| name.to_owned(), |rest| rest.replacen(">::", "::", 1));
    let hash = name.rsplit_once("::h").filter(|(_, hash)| hash.len() == 16).map(|(name, _)| name.to_owned());
    hash.unwrap_or(name)
}

fn address(file: &object::File<'_>, offset: u64) -> Option<u64> {
    file.segments().find_map(|segment| {
        let (start, size) = segment.file_range();
        (start..start + size).contains(&offset).then(|| segment.address() + (offset - start))
    })
}
