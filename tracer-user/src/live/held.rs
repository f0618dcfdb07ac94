//! A writer that can wait: while the traced command has the terminal, nothing of ours may appear on it.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Most bytes that wait, in all. A line per call is about 150 bytes.
const MAX_HELD: usize = 32 << 20;

/// Writes to `inner`, or keeps what is written until [`Held::release`]. Clones share one buffer, so that the order of
/// output and diagnostics stays.
#[derive(Clone)]
pub struct Held(Arc<Mutex<State>>);

struct State {
    inner: Box<dyn Write + Send>,
    /// `None`: nothing is held.
    waiting: Option<Vec<u8>>,
    dropped: u64,
}

impl Held {
    pub fn new(inner: Box<dyn Write + Send>, hold: bool) -> Self {
        Self(Arc::new(Mutex::new(State { inner, waiting: hold.then(Vec::new), dropped: 0 })))
    }

    /// The terminal is free: writes what has waited, and from now on at once.
    pub fn release(&self) -> io::Result<()> {
        let mut state = self.state();
        let waiting = state.waiting.take().unwrap_or_default();
        state.inner.write_all(&waiting)?;
        if state.dropped > 0 {
            let dropped = std::mem::take(&mut state.dropped);
            writeln!(
                state.inner,
                "llmtap: {dropped} bytes of output were dropped while the terminal was taken; use -o FILE"
            )?;
        }
        state.inner.flush()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Held {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        let Some(waiting) = &mut state.waiting else { return state.inner.write(bytes) };
        if waiting.len() + bytes.len() <= MAX_HELD {
            waiting.extend_from_slice(bytes);
        } else {
            state.dropped += bytes.len() as u64;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut state = self.state();
        if state.waiting.is_none() { state.inner.flush() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_held_comes_in_order_after_release() {
        let sink = Sink::default();
        let mut held = Held::new(Box::new(sink.clone()), true);
        let mut other = held.clone();
        held.write_all(b"one ").unwrap();
        other.write_all(b"two ").unwrap();
        assert!(sink.0.lock().unwrap().is_empty());
        held.release().unwrap();
        other.write_all(b"three").unwrap();
        assert_eq!(*sink.0.lock().unwrap(), b"one two three");
    }

    #[test]
    fn what_is_dropped_is_said() {
        let sink = Sink::default();
        let mut held = Held::new(Box::new(sink.clone()), true);
        held.write_all(&vec![b'x'; MAX_HELD]).unwrap();
        held.write_all(b"more").unwrap();
        held.release().unwrap();
        let bytes = sink.0.lock().unwrap();
        assert!(bytes.ends_with(b"llmtap: 4 bytes of output were dropped while the terminal was taken; use -o FILE\n"));
    }
}
