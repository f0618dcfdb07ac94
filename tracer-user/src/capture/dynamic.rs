//! What an executable asks of its dynamic linker, read from its headers alone.

use std::{
    ffi::OsString,
    fs::File,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

use object::{
    Endianness,
    elf::{DT_RPATH, DT_RUNPATH, DT_STRTAB, FileHeader64},
    read::{
        ReadCache, ReadRef,
        elf::{Dyn as _, FileHeader as _, ProgramHeader as _},
    },
};

/// Most program headers and bytes of the dynamic section; usual files have a dozen and 600.
const MAX_HEADERS: usize = 256;
const MAX_DYNAMIC: u64 = 64 << 10;
/// Longest list of directories, bytes.
const MAX_PATH: u64 = 16 << 10;

/// The directories that an executable itself names for its libraries (`DT_RUNPATH`, `DT_RPATH`; `$ORIGIN` is `origin`).
/// None for a file that the kernel starts without a dynamic linker.
pub(super) fn run_path(file: &File, origin: &Path) -> Option<Vec<PathBuf>> {
    let data = &ReadCache::new(file);
    let header = FileHeader64::<Endianness>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    if usize::from(header.e_phnum.get(endian)) > MAX_HEADERS {
        return None;
    }
    let segments = header.program_headers(endian, data).ok()?;
    segments.iter().find(|segment| segment.p_type(endian) == object::elf::PT_INTERP)?;
    let entries = segments
        .iter()
        .filter(|segment| segment.p_filesz(endian) <= MAX_DYNAMIC)
        .find_map(|segment| segment.dynamic(endian, data).ok()?);
    let value = |wanted| {
        let entry = entries?.iter().find(|entry| entry.d_tag(endian) == wanted)?;
        Some(entry.d_val(endian))
    };
    let list = || {
        let address = u64::checked_add(value(DT_STRTAB)?, value(DT_RUNPATH).or_else(|| value(DT_RPATH))?)?;
        let offset = segments.iter().find_map(|segment| {
            let inside = address.checked_sub(segment.p_vaddr(endian))?;
            let is_loaded = segment.p_type(endian) == object::elf::PT_LOAD && inside < segment.p_filesz(endian);
            is_loaded.then(|| segment.p_offset(endian).checked_add(inside))?
        })?;
        let end = offset.checked_add(MAX_PATH)?.min(data.len().ok()?);
        data.read_bytes_at_until(offset..end, 0).ok()
    };
    let part = |part: &[u8]| {
        let text = OsString::from_vec(part.to_vec()).into_string().ok()?;
        let origin = origin.to_str()?;
        Some(PathBuf::from(text.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)))
    };
    let list = list().unwrap_or_default();
    Some(list.split(|byte| *byte == b':').filter_map(part).collect())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_program_s_own_directories_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let build = |arguments: &[&str], name: &str| {
            let (source, program) = (folder.path().join("x.c"), folder.path().join(name));
            std::fs::write(&source, "int main(void) { return 0; }").unwrap();
            let built = Command::new("cc").arg("-o").arg(&program).arg(source).args(arguments).status();
            built.is_ok_and(|status| status.success()).then(|| File::open(program).unwrap())
        };
        let paths = ["-Wl,-rpath,$ORIGIN/../lib:/opt/own", "-Wl,--enable-new-dtags"];
        let Some(with) = build(&paths, "with") else { return eprintln!("skipped: no C compiler") };
        let found = run_path(&with, Path::new("/p/bin")).unwrap();
        assert_eq!(found, ["/p/bin/../lib", "/opt/own"].map(PathBuf::from));
        assert_eq!(run_path(&build(&[], "plain").unwrap(), Path::new("/")), Some(vec![PathBuf::new()]));
        assert_eq!(run_path(&build(&["-static"], "static").unwrap(), Path::new("/")), None);
        assert_eq!(run_path(&File::open(folder.path().join("x.c")).unwrap(), Path::new("/")), None);
    }
}
