//! Shortens the wait of an attach.
//!
//! Registering a probe waits for an RCU grace period, 8 to 16 ms, in which a process that has just mapped its library
//! may make its first calls. While `/sys/kernel/rcu_expedited` is 1 the wait is short. It is a setting of the whole
//! machine, so it is held for the moment of an attach only, and never touched where somebody else has set it.

use std::{fs, io, path::Path};

const SWITCH: &str = "/sys/kernel/rcu_expedited";
/// Tells the next start that a crash left the switch on.
const NOTE: &str = "/run/llmtap/rcu_expedited";

/// On while it lives.
pub struct Expedited {
    ours: bool,
}

impl Expedited {
    pub fn begin() -> Self {
        let off = fs::read_to_string(SWITCH).is_ok_and(|value| value.trim() == "0");
        // Without the note a crash would leave it on for good.
        let ours = off && note().is_ok() && fs::write(SWITCH, "1").is_ok();
        Self { ours }
    }
}

impl Drop for Expedited {
    fn drop(&mut self) {
        if self.ours && fs::write(SWITCH, "0").is_ok() {
            let _ = fs::remove_file(NOTE);
        }
    }
}

fn note() -> io::Result<()> {
    if let Some(folder) = Path::new(NOTE).parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(NOTE, "")
}

/// Undoes what a run that was killed during an attach has left.
pub fn recover() {
    if Path::new(NOTE).exists() && fs::write(SWITCH, "0").is_ok() {
        let _ = fs::remove_file(NOTE);
    }
}
