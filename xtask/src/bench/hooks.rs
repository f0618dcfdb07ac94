//! What a pair of `SSL_write` and `SSL_read` costs: `tracer-user/examples/hook_cost.rs` measures, this shows.

use std::process::Command;

use anyhow::Result;

use super::{Goal, Places, json_lines, number};

const ROUNDS: &str = "9";

pub fn run(places: &Places) -> Result<Vec<Goal>> {
    let lines = json_lines(Command::new(places.examples.join("hook_cost")).arg(&places.llmtap).arg(ROUNDS))?;
    println!("nanoseconds of the process's own time per pair; medians of {ROUNDS} rounds");
    println!("{:>8} {:>12} {:>16} {:>12} {:>12}", "bytes", "untraced", "empty exported", "empty own", "llmtap");
    let mut goals = Vec::new();
    for line in &lines {
        let [bytes, untraced, exported, own, real] =
            ["bytes", "untraced_ns", "empty_exported_ns", "empty_own_ns", "llmtap_ns"].map(|key| number(line, key));
        println!("{bytes:>8} {untraced:>12.0} {exported:>16.0} {own:>12.0} {real:>12.0}");
        let to_exported = (real - untraced) / (exported - untraced);
        let to_own = (real - untraced) / (own - untraced);
        goals.push(Goal::at_most(
            format!("hooks, {bytes} B: added to that of empty programs at exported entries"),
            to_exported,
            0.25,
            "<= 0.25",
        ));
        let what = format!("hooks, {bytes} B: added to that of empty programs at our own sites");
        if bytes == 64.0 {
            goals.push(Goal::at_most(what, to_own, 1.35, "<= 1.35"));
        } else {
            println!("{what}: {to_own:.2}");
        }
    }
    Ok(goals)
}
