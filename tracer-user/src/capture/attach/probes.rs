//! Programs, loaded when they are first needed, and what attaches them to the places of a plan.

use std::{
    collections::HashMap,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use super::super::{
    plan::Plan,
    program::{AttachMode, PerfProbe, ProgramError, Programs, attach_multi, attach_perf},
};

/// Whose probes are placed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whose {
    /// One process, or every one that maps the file.
    pub pid: Option<u32>,
    /// The upper half of the cookies, `tracer_common::event::reach`.
    pub link: u32,
}

/// Probes in a file. Dropping it takes them away, which takes the kernel some tens of milliseconds.
#[derive(Default)]
pub(super) struct Placed {
    _links: Vec<OwnedFd>,
    _probes: Vec<PerfProbe>,
}

/// The programs in the mode that this kernel has.
pub(super) struct Probes {
    programs: Programs,
    mode: AttachMode,
    loaded: HashMap<(&'static str, u32), OwnedFd>,
}

impl Probes {
    /// Finds out the best way of attaching that the kernel has, or takes the given one.
    pub fn new(programs: Programs, forced: Option<AttachMode>) -> Result<Self, ProgramError> {
        let mut probes = Self { programs, mode: AttachMode::Perf, loaded: HashMap::new() };
        if let Some(mode) = forced {
            probes.mode = mode;
            probes.prepare()?;
            return Ok(probes);
        }
        let multi = aya::sys::is_uprobe_multi_supported(aya::sys::UProbeMultiFeature::LinkCreation).unwrap_or(false);
        let modes: &[AttachMode] = if multi {
            &[AttachMode::Session, AttachMode::Multi, AttachMode::Perf]
        } else {
            &[AttachMode::Perf, AttachMode::PerfConstant]
        };
        let mut refused = None;
        for mode in modes {
            probes.mode = *mode;
            match probes.prepare() {
                Ok(()) => return Ok(probes),
                Err(error) => refused = Some(error),
            }
            probes.loaded.clear();
        }
        Err(refused.unwrap_or_else(|| ProgramError::Object("no way of attaching".into())))
    }

    pub fn mode(&self) -> AttachMode {
        self.mode
    }

    /// A program that is not kept, in a mode of the caller's choice.
    pub fn load_apart(&self, name: &str, mode: AttachMode) -> Result<OwnedFd, ProgramError> {
        self.programs.load(name, mode, 0)
    }

    /// Loads the programs of the mode, so that attaching finds them.
    fn prepare(&mut self) -> Result<(), ProgramError> {
        if self.mode == AttachMode::Session {
            self.program("call_session", 0)?;
        } else {
            self.program("call_entry", 0)?;
            self.program("call_exit", 0)?;
        }
        self.program("read_return", 0)?;
        self.program("connection_fact", 0).map(drop)
    }

    /// A program, loaded once, or once per cookie where that is built in.
    fn program(&mut self, name: &'static str, cookie: u32) -> Result<BorrowedFd<'_>, ProgramError> {
        let mode = match (name, self.mode) {
            // Nothing of it runs on return.
            (name, AttachMode::Session) if name != "call_session" => AttachMode::Multi,
            (_, mode) => mode,
        };
        let cookie = if mode == AttachMode::PerfConstant { cookie } else { 0 };
        if !self.loaded.contains_key(&(name, cookie)) {
            let program = self.programs.load(name, mode, cookie)?;
            self.loaded.insert((name, cookie), program);
        }
        let loaded = self.loaded.get(&(name, cookie)).map(OwnedFd::as_fd);
        loaded.ok_or_else(|| ProgramError::Object(format!("program {name} is not loaded")))
    }

    /// Puts the probes of a plan into the file at `path`.
    pub fn place(&mut self, plan: &Plan, path: &Path, whose: Whose) -> Result<Placed, ProgramError> {
        match self.mode {
            AttachMode::Session | AttachMode::Multi => {
                Ok(Placed { _links: self.links(plan, path, whose)?, ..Placed::default() })
            }
            AttachMode::Perf | AttachMode::PerfConstant => {
                Ok(Placed { _probes: self.events(plan, path)?, ..Placed::default() })
            }
        }
    }

    fn links(&mut self, plan: &Plan, path: &Path, whose: Whose) -> Result<Vec<OwnedFd>, ProgramError> {
        let cookie = |cookie: u32| u64::from(whose.link) << 32 | u64::from(cookie);
        let calls: Vec<(u64, u64)> = plan.calls.iter().map(|site| (site.offset, cookie(site.cookie.0))).collect();
        let plain = |sites: &[(u64, u32)]| -> Vec<(u64, u64)> {
            sites.iter().map(|(offset, what)| (*offset, cookie(*what))).collect()
        };
        let (reads, facts) = (plain(&plan.reads), plain(&plan.facts));
        let exits: Vec<(u64, u64)> = plan.exits.iter().map(|offset| (*offset, 0)).collect();
        let is_session = self.mode == AttachMode::Session;
        let mut links = Vec::new();
        let mut attach = |name, mode, sites: &[(u64, u64)]| {
            if !sites.is_empty() {
                links.push(attach_multi(self.program(name, 0)?, mode, path, sites, false, whose.pid)?);
            }
            Ok::<_, ProgramError>(())
        };
        if is_session {
            attach("call_session", AttachMode::Session, &calls)?;
        } else {
            // Ends first: a beginning without its end would be forgotten, an end without its beginning is not told.
            attach("call_exit", AttachMode::Multi, &exits)?;
            attach("call_entry", AttachMode::Multi, &calls)?;
        }
        attach("read_return", AttachMode::Multi, &reads)?;
        attach("connection_fact", AttachMode::Multi, &facts)?;
        for others in plan.others.chunk_by(|a, b| a.0 == b.0) {
            let sites: Vec<(u64, u64)> = others.iter().map(|(_, offset, what)| (*offset, cookie(*what))).collect();
            attach(others[0].0, AttachMode::Multi, &sites)?;
        }
        Ok(links)
    }

    fn events(&mut self, plan: &Plan, path: &Path) -> Result<Vec<PerfProbe>, ProgramError> {
        let mode = self.mode;
        let mut probes = Vec::new();
        let exits = plan.exits.iter().map(|offset| ("call_exit", *offset, 0));
        let entries = plan.calls.iter().map(|site| ("call_entry", site.offset, site.cookie.0));
        let facts = plan.facts.iter().map(|(offset, cookie)| ("connection_fact", *offset, *cookie));
        let reads = plan.reads.iter().map(|(offset, cookie)| ("read_return", *offset, *cookie));
        let others = plan.others.iter().copied();
        for (name, offset, cookie) in exits.chain(entries).chain(reads).chain(facts).chain(others) {
            let program = self.program(name, cookie)?;
            probes.push(attach_perf(program, mode, path, offset, u64::from(cookie))?);
        }
        Ok(probes)
    }
}
