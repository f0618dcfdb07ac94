//! End to end: unmodified clients under `llmtap`, against a provider that knows what it said.
//!
//! A test that cannot run on this machine says `skipped: why`; `cargo xtask test` counts those apart.

mod beside;
mod clients;
mod command_line;
mod content_reload;
mod contents;
mod daemon;
mod doctor;
mod export;
mod http2;
mod kubernetes;
mod metrics;
mod plaintext;
mod planted;
mod privileges;
mod robustness;
mod sdks;
mod signals;
mod stacks;
mod starts;
mod unread;
mod websockets;

/// The bench, or a return from the test with the reason why it cannot run.
macro_rules! bench {
    () => {
        match tests::harness::untraceable() {
            Some(why) => {
                println!("skipped: {why}");
                return Ok(());
            }
            None => tests::harness::Bench::new()?,
        }
    };
}
pub(crate) use bench;
