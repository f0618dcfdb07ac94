//! What really passes the hooks of processes for a while. Bytes are counted, not read.

use std::{
    collections::{BTreeSet, HashMap},
    os::fd::{AsFd as _, BorrowedFd},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::process::ProcessVerdict;
use crate::{
    capture::{ConnectionKey, Event, LoadError, Options, Refusal, Tracer, seam::poll},
    llm::is_model_host,
};

/// Host names told of one process.
const MAX_HOSTS: usize = 8;

/// How long to wait for more, at most.
const TICK: Duration = Duration::from_millis(100);

/// Traffic of one process through its hooked libraries.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    pub connections: u64,
    /// Of these, to hosts of known model services, by the server name of their handshakes.
    pub to_model_hosts: u64,
    /// Plaintext, both ways.
    pub bytes: u64,
    pub hosts: BTreeSet<String>,
}

/// Hooks the processes that can be hooked, and completes their verdicts by what passes in `time`.
pub fn watch(verdicts: &mut [ProcessVerdict], time: Duration) -> Result<(), LoadError> {
    let mut tracer = Tracer::load(&Options::default())?;
    let mut reader = tracer.ring_reader()?;
    for verdict in verdicts.iter_mut().filter(|verdict| verdict.traced) {
        tracer.add_target(verdict.pid)?;
        // One that has ended meanwhile shows nothing.
        let Ok(attached) = tracer.attach_process(verdict.pid) else { continue };
        let refused = attached.refused.iter().find(|refused| refused.path.to_str() == verdict.file.as_deref());
        if let Some(Refusal::Attach(why)) = refused.map(|refused| &refused.why) {
            verdict.refuse("attach_refused", why.clone());
        }
    }
    let mut seen: HashMap<u32, Seen> = HashMap::new();
    let mut owners: HashMap<ConnectionKey, u32> = HashMap::new();
    let (mut events, mut notices) = (Vec::new(), Vec::new());
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut fds = tracer.poll_fds();
        let ring: BorrowedFd<'_> = reader.as_fd();
        fds.push(ring);
        poll(&fds, Some(left.min(reader.look_again().unwrap_or(TICK)))).map_err(LoadError::Watch)?;
        tracer.on_readable(&mut notices);
        notices.clear();
        reader.drain(&mut events);
        events.drain(..).for_each(|event| count(event, &mut owners, &mut seen));
        if left.is_zero() {
            break;
        }
    }
    for verdict in verdicts.iter_mut().filter(|verdict| verdict.traced) {
        verdict.seen(seen.remove(&verdict.pid).unwrap_or_default());
    }
    Ok(())
}

fn count(event: Event, owners: &mut HashMap<ConnectionKey, u32>, seen: &mut HashMap<u32, Seen>) {
    match event {
        Event::Open { key, connection, .. } => {
            let Some(pid) = connection.pid else { return };
            owners.insert(key, pid);
            let seen = seen.entry(pid).or_default();
            seen.connections += 1;
            let host = connection.sni.as_deref().map(str::to_ascii_lowercase);
            seen.to_model_hosts += u64::from(host.as_deref().is_some_and(is_model_host));
            seen.hosts.extend(host.filter(|_| seen.hosts.len() < MAX_HOSTS));
        }
        Event::Data { key, bytes, .. } => add(key, bytes.len() as u64, owners, seen),
        Event::Unread { key, bytes, .. } => add(key, bytes, owners, seen),
        Event::Gap { key, lost, .. } => add(key, lost, owners, seen),
        Event::Close { key, .. } => {
            owners.remove(&key);
        }
        Event::Process { .. } => {}
    }
}

fn add(key: ConnectionKey, bytes: u64, owners: &HashMap<ConnectionKey, u32>, seen: &mut HashMap<u32, Seen>) {
    if let Some(seen) = owners.get(&key).and_then(|pid| seen.get_mut(pid)) {
        seen.bytes += bytes;
    }
}
