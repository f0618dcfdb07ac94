//! What the real OpenAI client pays for being traced while it streams at full speed: by llmtap from outside, and by
//! OpenLLMetry's instrumentation from inside.

use std::fs;

use anyhow::{Result, ensure};

use super::{Goal, Places, median, number, session::Stage};

const ROUNDS: usize = 9;
const CALLS: u64 = 5;
const TOKENS: u64 = 1000;

/// Untraced, llmtap, OpenLLMetry as it comes, OpenLLMetry without message contents (llmtap takes none by default).
const VARIANTS: [&str; 4] = ["untraced", "llmtap", "OpenLLMetry", "OpenLLMetry, no contents"];

pub fn run(places: &Places) -> Result<Vec<Goal>> {
    let stage = Stage::set(places)?;
    let mut samples: [Vec<f64>; 4] = Default::default();
    let mut halves: [Vec<f64>; 2] = Default::default();
    for round in 0..ROUNDS {
        // Every variant comes after every other.
        for step in 0..VARIANTS.len() {
            let variant = (step + round) % VARIANTS.len();
            let traced = (variant == 1).then_some(places.llmtap.as_path());
            let arguments: &[&str] = if variant >= 2 { &["openllmetry"] } else { &[] };
            let mut session = stage.client(traced, arguments, variant != 3)?;
            session.ask("stream 1 20")?;
            let processes = traced.map(|_| session.halves()).transpose()?;
            let spent =
                || processes.map(|[tracer, parser]| anyhow::Ok([tracer.processor_ms()?, parser.processor_ms()?]));
            let before = spent().transpose()?;
            let answer = session.ask(&format!("stream {CALLS} {TOKENS}"))?;
            samples[variant].push(number(&answer, "cpu_ns") / 1e6 / CALLS as f64);
            if let Some(before) = before {
                // What is in the ring is taken within a moment.
                std::thread::sleep(std::time::Duration::from_millis(400));
                if let Some(after) = spent().transpose()? {
                    for half in 0..2 {
                        halves[half].push((after[half] - before[half]) / CALLS as f64);
                    }
                }
            }
            let spans = session.ask("spans")?;
            session.end()?;
            match variant {
                0 => {}
                1 => {
                    let text = fs::read_to_string(stage.spans())?;
                    let usage = format!("\"gen_ai.usage.output_tokens\",\"value\":{{\"intValue\":\"{TOKENS}\"}}");
                    let exact = text.matches(&usage).count() as u64;
                    ensure!(exact == CALLS, "llmtap told {exact} calls, not {CALLS}");
                }
                _ => {
                    let spans = spans["spans"].as_array().map_or(0, Vec::len);
                    ensure!(spans as u64 == CALLS + 1, "OpenLLMetry told {spans} spans, not {}", CALLS + 1);
                }
            }
        }
    }
    let [untraced, llmtap, openllmetry, bare] = samples.map(median);
    println!(
        "user and system time of the client, ms per call of {TOKENS} chunks; medians of {ROUNDS} rounds of {CALLS} calls"
    );
    for (name, figure) in VARIANTS.iter().zip([untraced, llmtap, openllmetry, bare]) {
        println!("{name:<28} {figure:>8.1} {:>+8.1}", figure - untraced);
    }
    let [tracer, parser] = halves.map(median);
    println!(
        "beside it, llmtap's own: {tracer:.1} ms in the privileged half, {parser:.1} ms in the parsing half per call"
    );
    Ok(vec![
        Goal::at_most(
            "client: time added by llmtap to that added by OpenLLMetry",
            (llmtap - untraced) / (openllmetry - untraced),
            0.3,
            "<= 0.3",
        ),
        Goal::at_most(
            "client: the same, OpenLLMetry without message contents",
            (llmtap - untraced) / (bare - untraced),
            0.3,
            "<= 0.3",
        ),
    ])
}
