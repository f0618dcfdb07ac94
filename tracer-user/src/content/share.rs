//! The memory that the contents of all open calls hold together.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// All of it. One call's part is bounded by [`super::Limits`]; thousands of open calls are bounded by this.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    held: AtomicUsize,
}

impl Pool {
    /// A pool of `most` bytes.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Shared { most, held: AtomicUsize::new(0) }))
    }

    pub fn share(&self) -> Share {
        Share { pool: self.clone(), held: 0 }
    }

    /// Bytes that are held now.
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }
}

/// What one holder has of a [`Pool`]. It goes back when the holder goes.
#[derive(Debug)]
pub struct Share {
    pool: Pool,
    held: usize,
}

impl Share {
    /// Takes `bytes` more; `false`, and nothing is taken, when the pool has not so many.
    pub fn take(&mut self, bytes: usize) -> bool {
        let Shared { most, held } = &*self.pool.0;
        if held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > *most {
            held.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.held += bytes;
        true
    }

    /// Gives `bytes` back, at most what is held.
    pub fn give(&mut self, bytes: usize) {
        let bytes = bytes.min(self.held);
        self.held -= bytes;
        self.pool.0.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give(self.held);
    }
}
