//! How llmtap is, for those who watch over it: `/healthz` says whether both halves work, `/readyz` whether hooks stand
//! and it is not about to end.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::StatusCode;

use crate::export::listen::{Page, plain, refuse_method};

/// How long a half may say nothing. The one with privileges speaks each second; a large executable can keep it busy.
const SILENCE: Duration = Duration::from_secs(15);

/// What is known of both halves, in the one that parses.
#[derive(Debug)]
pub struct Health {
    /// When the thread that decodes was last seen, and when the other half last spoke.
    seen: Mutex<(Instant, Option<Instant>)>,
    began: AtomicBool,
    ends: AtomicBool,
}

impl Default for Health {
    fn default() -> Self {
        Self { seen: Mutex::new((Instant::now(), None)), began: AtomicBool::new(false), ends: AtomicBool::new(false) }
    }
}

impl Health {
    /// The thread that decodes goes on.
    pub fn goes_on(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).0 = Instant::now();
    }

    /// The other half has spoken.
    pub fn heard(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).1 = Some(Instant::now());
    }

    /// Hooks stand.
    pub fn began(&self) {
        self.began.store(true, Ordering::Relaxed);
    }

    /// It is about to end.
    pub fn ends(&self) {
        self.ends.store(true, Ordering::Relaxed);
    }

    /// Why it is not well at `now`, if it is not.
    fn trouble(&self, now: Instant) -> Option<&'static str> {
        let (decoder, other) = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = |last: Instant| now.saturating_duration_since(last) > SILENCE;
        if silent(decoder) {
            Some("the parsing half is stuck\n")
        } else if other.is_some_and(silent) {
            Some("the privileged half is stuck\n")
        } else {
            None
        }
    }

    /// Why it is not ready at `now`, if it is not.
    fn wait(&self, now: Instant) -> Option<&'static str> {
        if self.ends.load(Ordering::Relaxed) {
            Some("it ends\n")
        } else if !self.began.load(Ordering::Relaxed) {
            Some("hooks do not stand yet\n")
        } else {
            self.trouble(now)
        }
    }
}

/// `/healthz` and `/readyz`.
pub fn page(health: Arc<Health>) -> Page {
    Arc::new(move |request| {
        let problem = match request.uri().path() {
            "/healthz" => health.trouble(Instant::now()),
            "/readyz" => health.wait(Instant::now()),
            _ => return plain(StatusCode::NOT_FOUND, "there are /healthz and /readyz\n"),
        };
        match (refuse_method(request), problem) {
            (Some(refusal), _) => refusal,
            (None, Some(problem)) => plain(StatusCode::SERVICE_UNAVAILABLE, problem),
            (None, None) => plain(StatusCode::OK, "ok\n"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_trouble_and_readiness_has_a_beginning_and_an_end() {
        let health = Health::default();
        let now = Instant::now();
        assert_eq!((health.trouble(now), health.wait(now)), (None, Some("hooks do not stand yet\n")));
        health.began();
        health.heard();
        assert_eq!(health.wait(now), None);
        let late = Instant::now() + SILENCE + Duration::from_secs(1);
        assert!(health.trouble(late).unwrap().starts_with("the parsing half"));
        health.seen.lock().unwrap().0 = late;
        assert!(health.trouble(late).unwrap().starts_with("the privileged half"));
        health.ends();
        assert_eq!(health.wait(now), Some("it ends\n"));
    }
}
