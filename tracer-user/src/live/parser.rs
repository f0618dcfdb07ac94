//! The half that parses: reads the ring, runs the line, writes and exports. It has no privilege.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    os::fd::AsFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::proof::Proofs;
use crate::{
    capture::{
        Event, Process, RingReader,
        seam::{Channel, Health, ToParser, ToTracer, Totals, Verdicts, poll},
    },
    diagnostics,
    export::otlp::{BoxFuture, Resolve},
    pipeline::{Pipeline, Unread},
    session::{Session, Setup},
};

/// How long records may wait for missing predecessors; also how old the metrics of what is now may be.
const TICK: Duration = Duration::from_millis(250);

/// Runs until the other half says that nothing more comes, or is gone. Returns its closing totals, if it could still
/// tell them.
pub fn run(
    mut reader: RingReader,
    channel: &Channel,
    names: &Names,
    pipeline: &mut Pipeline,
    session: &mut Session,
) -> io::Result<Option<Totals>> {
    let mut events: Vec<Event> = Vec::new();
    let mut proofs = Proofs::default();
    let mut beginnings = Beginnings::default();
    let mut totals = None;
    let mut last = false;
    let mut observed = Instant::now();
    loop {
        session.health().goes_on();
        let wait = if last { Duration::ZERO } else { reader.look_again().unwrap_or(TICK) };
        let ready = poll(&[reader.as_fd(), channel.as_fd()], Some(wait))?;
        let [ring, message] = ready[..] else { continue };
        // Before the messages: what is told of a program before it begins has then come, if its beginning has.
        let mut more = reader.drain(&mut events);
        let begun = || events.iter().any(|event| matches!(event, Event::Process { .. }));
        if !last && (message || begun()) {
            last = loop {
                let (message, descriptors) = match channel.receive_with() {
                    Ok(Some((message, descriptors))) => (Ok(Some(message)), descriptors),
                    Ok(None) => (Ok(None), Vec::new()),
                    Err(error) => (Err(error), Vec::new()),
                };
                match message {
                    Ok(Some(ToParser::Process { at, process })) => {
                        let event = Event::Process { at, process };
                        proofs.push(&event);
                        pipeline.push(event)?;
                    }
                    Ok(Some(ToParser::Begins(process))) => beginnings.expect(process),
                    Ok(Some(ToParser::Resolved { id, addresses })) => names.answer(id, addresses),
                    Ok(Some(ToParser::Health(Health { lost, unread, unwatched, attach_failures, memory }))) => {
                        if let Some(metrics) = pipeline.metrics() {
                            let memory: Vec<_> = memory.iter().map(|(half, bytes)| (half.as_str(), *bytes)).collect();
                            metrics.health(&lost, attach_failures, &memory);
                            metrics.passed_over(unread, &unwatched);
                        }
                    }
                    Ok(Some(ToParser::Verdicts(counts))) => {
                        if let Some(metrics) = pipeline.metrics() {
                            metrics.processes(counts.iter().map(|Verdicts { library, reason, processes }| {
                                (library.as_deref(), reason.as_str(), *processes)
                            }));
                        }
                    }
                    Ok(Some(ToParser::Began)) => session.health().began(),
                    Ok(Some(ToParser::Beat)) => {
                        session.health().heard();
                        // If it does not go through, the next one is answered.
                        let _ = channel.send(&ToTracer::Beat);
                    }
                    Ok(Some(ToParser::Reload)) => {
                        let resolver: Arc<dyn Resolve> = Arc::new(names.clone());
                        let setup = Setup::of_descriptors(descriptors);
                        if let Ok(setup) = &setup {
                            diagnostics::set_level(setup.file().log.level);
                        }
                        if let Err(error) = setup.and_then(|setup| session.reload(setup, pipeline, &resolver)) {
                            tracing::error!("the configuration could not be taken over as a whole: {error:#}");
                        }
                    }
                    Ok(Some(ToParser::CommandEnded)) => session.held().release()?,
                    Ok(Some(ToParser::Finish(all))) => {
                        session.health().ends();
                        totals = Some(all);
                        break true;
                    }
                    Ok(None) => break false,
                    // The other half is gone: what is in the ring still counts.
                    Err(_) => break true,
                }
            };
            if last {
                more = reader.drain(&mut events);
            }
        }
        if last && !more {
            reader.finish(&mut events);
        }
        if events.is_empty() && !ring && !last {
            pipeline.tick()?;
        }
        if observed.elapsed() >= TICK {
            pipeline.observe();
            observed = Instant::now();
        }
        for event in events.drain(..) {
            let event = beginnings.complete(event);
            if let Some(pid) = proofs.push(&event) {
                // If it does not go through, its next process tells the same.
                let _ = channel.send(&ToTracer::Withdraw { pid });
            }
            #[cfg(debug_assertions)]
            crash::on(&event);
            pipeline.push(event)?;
        }
        for Unread { key, until } in pipeline.unread() {
            // If it does not go through, more is copied than is read.
            if channel.send(&ToTracer::Unread { key, until }).is_ok() {
                reader.leave_unread(key, until);
            }
        }
        if last && !more {
            return Ok(totals);
        }
    }
}

/// Programs that are about to begin. A short one has ended before /proc can be read of it: what was known while it was held
/// goes with the kernel's notice of its exec, before its first bytes.
#[derive(Default)]
struct Beginnings(HashMap<u32, Arc<Process>>);

/// Programs that are remembered. An exec that fails leaves one; past it all are forgotten, and /proc must do.
const MAX_BEGINNINGS: usize = 4096;

impl Beginnings {
    fn expect(&mut self, process: Arc<Process>) {
        if self.0.len() >= MAX_BEGINNINGS {
            self.0.clear();
        }
        self.0.insert(process.pid, process);
    }

    fn complete(&mut self, event: Event) -> Event {
        match event {
            // A fork tells no file.
            Event::Process { at, process } if process.exe.is_some() && process.service.is_none() => {
                let process = self.0.remove(&process.pid).unwrap_or(process);
                Event::Process { at, process }
            }
            event => event,
        }
    }
}

/// For the test of what a crash tells, and in debug builds alone: a panic of the parsing half, whose message quotes the
/// traced bytes, as soon as they hold the value of the variable `LLMTAP_CRASH_ON`.
#[cfg(debug_assertions)]
mod crash {
    use std::sync::LazyLock;

    use crate::capture::Event;

    static MARK: LazyLock<Option<String>> =
        LazyLock::new(|| std::env::var("LLMTAP_CRASH_ON").ok().filter(|mark| !mark.is_empty()));

    pub fn on(event: &Event) {
        let (Some(mark), Event::Data { bytes, .. }) = (&*MARK, event) else { return };
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains(mark.as_str()), "it was asked for, with {text}");
    }
}

/// Takes what the other half says while the exporters send what is left: they may still need names.
pub fn keep_answering(channel: Channel, names: Names) {
    thread::spawn(move || {
        loop {
            match channel.receive() {
                Ok(Some(ToParser::Resolved { id, addresses })) => names.answer(id, addresses),
                Ok(Some(_)) => {}
                Ok(None) => {
                    if poll(&[channel.as_fd()], None).is_err() {
                        return;
                    }
                }
                // The other half is gone.
                Err(_) => return,
            }
        }
    });
}

/// Resolves names through the half that may open the resolver's files.
#[derive(Clone)]
pub struct Names(Arc<State>);

struct State {
    channel: Channel,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Vec<SocketAddr>>>>,
}

impl Names {
    pub fn new(channel: Channel) -> Self {
        Self(Arc::new(State { channel, next: AtomicU64::new(0), waiting: Mutex::default() }))
    }

    fn answer(&self, id: u64, addresses: Vec<SocketAddr>) {
        let waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(waiting) = waiting {
            // The asker may have given up.
            let _ = waiting.send(addresses);
        }
    }
}

impl Resolve for Names {
    fn resolve(&self, host: &str, port: u16) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id, sender);
        let asked = self.0.channel.send(&ToTracer::Resolve { id, host: host.to_owned(), port });
        Box::pin(async move {
            asked?;
            let addresses = answer.await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            if addresses.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the host name is unknown"));
            }
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(exe: Option<&str>, service: Option<&str>) -> Event {
        let process =
            Process { pid: 7, exe: exe.map(Arc::from), service: service.map(Arc::from), ..Process::default() };
        Event::Process { at: 5, process: Arc::new(process) }
    }

    fn service(event: &Event) -> Option<&str> {
        let Event::Process { at: 5, process } = event else { panic!("{event:?}") };
        process.service.as_deref()
    }

    #[test]
    fn what_was_known_of_a_held_program_goes_with_the_notice_of_its_exec() {
        let mut beginnings = Beginnings::default();
        let Event::Process { process, .. } = event(Some("/bin/x"), Some("x")) else { unreachable!() };
        beginnings.expect(process);
        // Its fork, and what /proc says of the image before.
        assert_eq!(service(&beginnings.complete(event(None, None))), None);
        assert_eq!(service(&beginnings.complete(event(Some("/bin/sh"), Some("sh")))), Some("sh"));
        assert_eq!(service(&beginnings.complete(event(Some("x"), None))), Some("x"));
        assert_eq!(service(&beginnings.complete(event(Some("y"), None))), None);
        for pid in 0..u32::try_from(MAX_BEGINNINGS).unwrap() + 10 {
            beginnings.expect(Arc::new(Process { pid, ..Process::default() }));
        }
        assert_eq!(beginnings.0.len(), 10);
    }
}
