//! Whom the hooks of a file stop: every process that maps it, or single ones.
//!
//! Probes for every process miss nobody, but whoever maps the file pays for their traps, traced or not. Probes for one
//! process each (`pid` of a uprobe_multi link; it survives exec, and from Linux 6.10 on holds for all threads) spare the others,
//! but miss what a forked child does first, and each makes every hit a little dearer. So probes stand for every process as
//! long as targets come and change, and for single ones when few targets have rested for a while.
//!
//! For a moment both kinds stand; a word that the programs read says which of them speaks, so that each call counts once.
//! The old kind goes some seconds later, so that calls under way come to their end.

use std::{
    collections::{BTreeMap, HashSet},
    os::fd::AsRawFd as _,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use aya::maps::{Array, MapData};
use tracer_common::{event::reach, limits::REACHES};

use super::{
    super::{mapped::FileKey, program::ProgramError, rcu::Expedited},
    Attachments, Hook, Outcome,
    probes::{Placed, Whose},
};

/// Processes that one file's hooks stop alone, at most. Each adds some 40 ns to every hit of all of them.
pub const MAX_ALONE: usize = 8;

/// How long probes stay that do not speak any more.
const RETIREMENT: Duration = Duration::from_secs(2);

/// What stands in a file.
pub(super) enum Standing {
    Everyone(Placed),
    Alone(BTreeMap<u32, Placed>),
}

/// Who speaks in which file.
pub(super) struct Reaches {
    /// By the file's number.
    speaking: Array<MapData, u32>,
    retired: Vec<Retired>,
    /// A file's hooks stop every process since somebody last asked.
    widened: bool,
}

struct Retired {
    until: Instant,
    number: u32,
    standing: Standing,
}

impl Standing {
    fn into_placed(self) -> Vec<Placed> {
        match self {
            Self::Everyone(placed) => vec![placed],
            Self::Alone(placed) => placed.into_values().collect(),
        }
    }
}

impl Reaches {
    pub fn new(speaking: Array<MapData, u32>) -> Self {
        Self { speaking, retired: Vec::new(), widened: false }
    }

    /// Takes probes back that were silenced a moment ago: they would speak again beside new ones.
    fn take_back(&mut self, number: u32, wanted: fn(&Standing) -> bool) -> Option<Standing> {
        let found = self.retired.iter().position(|one| one.number == number && wanted(&one.standing))?;
        Some(self.retired.swap_remove(found).standing)
    }
}

impl Hook {
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    const fn link(&self, alone: u32) -> u32 {
        if self.number == 0 { 0 } else { self.number << reach::FILE_SHIFT | alone }
    }
}

impl Attachments {
    /// Places the probes of a file for every process.
    pub(super) fn place(&mut self, hook: &mut Hook) -> Result<(), ProgramError> {
        let _expedited = Expedited::begin();
        let whose = Whose { pid: None, link: hook.link(0) };
        self.reaches.widened = true;
        hook.standing = Standing::Everyone(self.probes.place(&hook.plan, &hook.path(), whose)?);
        Ok(())
    }

    /// A number for a file to be hooked, whose hooks speak for every process; 0 when there is none left.
    pub(super) fn number(&mut self) -> u32 {
        let hooked = self.files.values().filter_map(|known| match known {
            Outcome::Hooked(hook) => Some(hook.number),
            _ => None,
        });
        let used: HashSet<u32> = hooked.chain(self.reaches.retired.iter().map(|one| one.number)).collect();
        let free = (1..REACHES).find(|number| !used.contains(number)).unwrap_or(0);
        if free != 0 && self.reaches.speaking.set(free, &0, 0).is_err() { 0 } else { free }
    }

    /// Files whose hooks stop every process and need not.
    pub(in super::super) fn wide(&self) -> impl Iterator<Item = FileKey> + '_ {
        self.files.iter().filter_map(|(key, known)| match known {
            Outcome::Hooked(Hook { number: 1.., standing: Standing::Everyone(_), .. }) => Some(*key),
            _ => None,
        })
    }

    /// Has the hooks of a file stop these processes alone, at most [`MAX_ALONE`]. Those that have ended are left out.
    ///
    /// # Errors
    /// The kernel's, after which the hooks stop every process as before.
    pub(in super::super) fn narrow(&mut self, key: &FileKey, pids: &[u32]) -> Result<(), ProgramError> {
        let Some(Outcome::Hooked(hook)) = self.files.get_mut(key) else { return Ok(()) };
        let _expedited = Expedited::begin();
        let known = self.reaches.take_back(hook.number, |standing| matches!(standing, Standing::Alone(_)));
        let mut known = if let Some(Standing::Alone(known)) = known { known } else { BTreeMap::new() };
        let mut alone = BTreeMap::new();
        for pid in pids.iter().take(MAX_ALONE) {
            if let Some(placed) = known.remove(pid) {
                alone.insert(*pid, placed);
                continue;
            }
            let whose = Whose { pid: Some(*pid), link: hook.link(reach::ALONE) };
            match self.probes.place(&hook.plan, &hook.path(), whose) {
                Ok(placed) => drop(alone.insert(*pid, placed)),
                Err(ProgramError::Attach(error)) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => return Err(error),
            }
        }
        close(known.into_values().collect());
        self.change(key, Standing::Alone(alone))
    }

    /// Has all hooks stop every process again. Whether any did not.
    pub fn widen(&mut self) -> bool {
        let narrow: Vec<FileKey> = self
            .files
            .iter()
            .filter(|(_, known)| matches!(known, Outcome::Hooked(Hook { standing: Standing::Alone(_), .. })))
            .map(|(key, _)| *key)
            .collect();
        for key in &narrow {
            self.widen_one(key);
        }
        !narrow.is_empty()
    }

    /// Has the hooks of a file that a process uses stop that process, too.
    pub(super) fn reach(&mut self, key: &FileKey, pid: u32) {
        if let Some(Outcome::Hooked(Hook { standing: Standing::Alone(alone), .. })) = self.files.get(key)
            && !alone.contains_key(&pid)
        {
            self.widen_one(key);
        }
    }

    fn widen_one(&mut self, key: &FileKey) {
        let Some(Outcome::Hooked(hook)) = self.files.get_mut(key) else { return };
        let _expedited = Expedited::begin();
        self.reaches.widened = true;
        let standing = match self.reaches.take_back(hook.number, |standing| matches!(standing, Standing::Everyone(_))) {
            Some(standing) => Ok(standing),
            None => {
                let whose = Whose { pid: None, link: hook.link(0) };
                self.probes.place(&hook.plan, &hook.path(), whose).map(Standing::Everyone)
            }
        };
        if let Err(error) = standing.and_then(|standing| self.change(key, standing)) {
            tracing::warn!("hooks for new processes failed: {error}");
        }
    }

    /// What stands now speaks; what stood is taken away a little later.
    fn change(&mut self, key: &FileKey, standing: Standing) -> Result<(), ProgramError> {
        let Some(Outcome::Hooked(hook)) = self.files.get_mut(key) else { return Ok(()) };
        let alone = if matches!(standing, Standing::Alone(_)) { reach::ALONE } else { 0 };
        let failed = |error: aya::maps::MapError| ProgramError::Object(error.to_string());
        self.reaches.speaking.set(hook.number, &alone, 0).map_err(failed)?;
        let standing = std::mem::replace(&mut hook.standing, standing);
        let until = Instant::now() + RETIREMENT;
        self.reaches.retired.push(Retired { until, number: hook.number, standing });
        Ok(())
    }

    /// Processes that hooks stop alone.
    pub fn alone(&self) -> HashSet<u32> {
        let standing = self.files.values().filter_map(|known| match known {
            Outcome::Hooked(Hook { standing: Standing::Alone(alone), .. }) => Some(alone.keys()),
            _ => None,
        });
        standing.flatten().copied().collect()
    }

    /// Takes away the probes for a process that has ended.
    pub fn forget(&mut self, pid: u32) {
        let mut placed = Vec::new();
        for known in self.files.values_mut() {
            if let Outcome::Hooked(Hook { standing: Standing::Alone(alone), .. }) = known {
                placed.extend(alone.remove(&pid));
            }
        }
        close(placed);
    }

    /// Whether the hooks of any file began to stop every process since this was last called.
    pub fn take_widened(&mut self) -> bool {
        std::mem::take(&mut self.reaches.widened)
    }

    /// When [`Self::close_retired`] has something to do.
    pub fn next_close(&self) -> Option<Instant> {
        self.reaches.retired.iter().map(|one| one.until).min()
    }

    /// Takes away the probes that have been silent for long enough.
    pub fn close_retired(&mut self, now: Instant) {
        let over = self.reaches.retired.extract_if(.., |one| one.until <= now);
        let placed: Vec<Placed> = over.flat_map(|one| one.standing.into_placed()).collect();
        close(placed);
    }
}

/// The kernel takes its time, and programs may be waiting for us.
fn close(placed: Vec<Placed>) {
    if !placed.is_empty() {
        thread::spawn(move || {
            let _expedited = Expedited::begin();
            drop(placed);
        });
    }
}
