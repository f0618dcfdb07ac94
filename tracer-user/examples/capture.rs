//! Prints what the kernel side sees of a command: `capture [--mode session|multi|perf] -- CMD [ARG…]`.

use std::{
    os::{fd::AsFd as _, fd::AsRawFd as _, unix::process::CommandExt as _},
    process::Command,
    time::{Duration, Instant},
};

use llmtap::capture::{Event, Options, Tracer, program::AttachMode};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let mut options = Options::default();
    let mut ahead = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--mode") => {
                options.mode = match arguments.next().and_then(|mode| mode.into_string().ok()).as_deref() {
                    Some("session") => Some(AttachMode::Session),
                    Some("multi") => Some(AttachMode::Multi),
                    Some("perf") => Some(AttachMode::Perf),
                    Some("perf-constant") => Some(AttachMode::PerfConstant),
                    _ => None,
                }
            }
            Some("--file") => ahead.extend(arguments.next()),
            _ => break,
        }
    }
    let started = Instant::now();
    let mut tracer = Tracer::load(&options)?;
    eprintln!("loaded in {:?}, {:?}", started.elapsed(), tracer.attach_mode());
    for file in ahead {
        let started = Instant::now();
        let verdict = tracer.attach_file(file.as_ref());
        eprintln!("{verdict:?} in {:?}", started.elapsed());
    }
    let mut reader = tracer.ring_reader()?;
    tracer.add_target(std::process::id())?;
    let Some(program) = arguments.next() else { return Err("no command".into()) };
    let mut child = Command::new(program).args(arguments).process_group(0).spawn()?;
    tracer.exclude(std::process::id());
    let (mut notices, mut events) = (Vec::new(), Vec::new());
    let mut ended = None;
    loop {
        let mut fds: Vec<libc::pollfd> = tracer
            .poll_fds()
            .into_iter()
            .chain([reader.as_fd()])
            .map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 })
            .collect();
        let wait = reader.look_again().unwrap_or(Duration::from_millis(200)).as_millis() as libc::c_int;
        #[expect(unsafe_code, reason = "poll(2)")]
        // SAFETY: `fds` is valid for its length.
        unsafe {
            libc::poll(fds.as_mut_ptr(), fds.len() as _, wait);
        }
        tracer.on_readable(&mut notices);
        for notice in notices.drain(..) {
            println!("{notice:?}");
        }
        reader.drain(&mut events);
        for event in events.drain(..) {
            match event {
                Event::Data { at, key, direction, offset, bytes } => {
                    println!("Data at={at} {key:?} {direction:?} offset={offset} length={}", bytes.len());
                }
                other => println!("{other:?}"),
            }
        }
        match ended {
            Some(when) if Instant::now() > when => break,
            None if child.try_wait()?.is_some() => ended = Some(Instant::now() + Duration::from_millis(150)),
            _ => {}
        }
    }
    for (counter, value) in tracer.counters().iter() {
        println!("{} {value}", counter.name());
    }
    Ok(())
}
