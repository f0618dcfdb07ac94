//! What the user side costs: `tracer-user/examples/replay_cost/` measures, this shows.

use std::process::Command;

use anyhow::Result;

use super::{Goal, Places, json_lines, number};

pub fn run(places: &Places) -> Result<Vec<Goal>> {
    let lines = json_lines(&mut Command::new(places.examples.join("replay_cost")))?;
    println!(
        "nanoseconds per event or message: serde_json alone (into owned texts, borrowed texts), then decoding, all up"
    );
    println!(
        "to spans, and all with the reading of a capture file; GB/s of JSON payload; how many times as fast as serde_json"
    );
    println!(
        "{:<40} {:>8} {:>8} {:>8} {:>8} {:>8} {:>6} {:>6} {:>7} {:>7} {:>7}",
        "", "owned", "borrowed", "decode", "spans", "file", "GB/s", "file", "owned", "borrow", "file"
    );
    let mut goals = Vec::new();
    for line in &lines {
        let name = line["workload"].as_str().unwrap_or_default();
        println!(
            "{name:<40} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {:>6.2} {:>6.2} {:>6.2}x {:>6.2}x {:>6.2}x",
            number(line, "owned_ns"),
            number(line, "borrowed_ns"),
            number(line, "decode_ns"),
            number(line, "spans_ns"),
            number(line, "file_ns"),
            number(line, "spans_gb_per_s"),
            number(line, "file_gb_per_s"),
            number(line, "against_owned"),
            number(line, "against_borrowed"),
            number(line, "file_against_owned"),
        );
        let against = number(line, "against_owned");
        let what = format!("replay, {name}: speed over serde_json");
        // A stream is framed event by event; a whole answer carries what each call costs.
        let streams = name.contains("stream") || name.ends_with(", array");
        goals.push(match streams {
            true => Goal::at_least(what, against, 2.0, ">= 2"),
            false => Goal::at_least(what, against, 1.0, ">= 1"),
        });
    }
    Ok(goals)
}
