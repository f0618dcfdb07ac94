//! From the kernel's boot clock to Unix time.

use std::time::{Duration, Instant};

/// How often the distance between the clocks is measured anew: the wall clock is slewed by at most 500 ppm.
const RENEW: Duration = Duration::from_secs(60);

/// Adds the distance between `CLOCK_BOOTTIME` and the Unix epoch.
#[derive(Debug)]
pub struct Clock {
    offset: i128,
    measured: Instant,
}

impl Clock {
    #[must_use]
    pub fn new() -> Self {
        Self { offset: distance(), measured: Instant::now() }
    }

    /// Nanoseconds since the Unix epoch of an instant of the boot clock.
    #[must_use]
    pub fn unix(&self, boot: u64) -> u64 {
        u64::try_from(i128::from(boot) + self.offset).unwrap_or(0)
    }

    /// To be called now and then, between events.
    pub fn renew(&mut self) {
        if self.measured.elapsed() >= RENEW {
            *self = Self::new();
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// Nanoseconds of `CLOCK_BOOTTIME`, as the eBPF programs read it.
#[must_use]
pub fn boot_now() -> u64 {
    u64::try_from(read(libc::CLOCK_BOOTTIME)).unwrap_or(0)
}

fn distance() -> i128 {
    // The wall clock between two readings of the other; the tightest of three pairs.
    (0..3)
        .map(|_| {
            let before = read(libc::CLOCK_BOOTTIME);
            let wall = read(libc::CLOCK_REALTIME);
            let after = read(libc::CLOCK_BOOTTIME);
            (after - before, wall - i128::midpoint(before, after))
        })
        .min()
        .map_or(0, |(_, distance)| distance)
}

#[expect(unsafe_code, reason = "the standard library does not read the boot clock")]
fn read(clock: libc::clockid_t) -> i128 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for one timespec.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_is_now() {
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as i128;
        let told = i128::from(Clock::new().unix(boot_now()));
        assert!((told - wall).abs() < 50_000_000, "{told} against {wall}");
    }
}
