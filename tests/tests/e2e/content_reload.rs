//! What is told of contents changes with the daemon's file, under traffic: what holds for a call is what is in force when
//! its end is read, and a call that began while contents were off tells none.

use std::{
    path::Path,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use tests::{
    harness::{Running, clients},
    spans::Span,
    tracer::Daemon,
};

use crate::{bench, daemon::interpreter};

/// How long before and behind a reload a call may end of which it is not known what holds: bytes are on their way from the
/// kernel, and the half that parses takes the file over when it comes to it.
const MARGIN: u64 = 700_000_000;

/// In the order of the reloads.
const MODES: [&str; 4] = ["none", "redacted", "full", "none"];

fn now() -> anyhow::Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?)
}

/// The modes that one moment may have, by the times before and after each reload.
fn mode_at(at: u64, reloads: &[(u64, u64)]) -> Option<&'static str> {
    let over = reloads.iter().filter(|(_, after)| after + MARGIN < at).count();
    let begun = reloads.iter().filter(|(before, _)| *before < at + MARGIN).count();
    (over == begun).then(|| MODES[over])
}

/// How contents of a call are told; an error when they are those of another one, or redacted in part.
fn told(span: &Span) -> anyhow::Result<&'static str> {
    let names = ["gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions"];
    let texts: String = names.iter().filter_map(|name| span.text(name)).collect();
    if texts.is_empty() {
        return Ok("none");
    }
    let name = span.text("gen_ai.response.id").and_then(|id| id.strip_prefix("call-")).context("no id")?;
    ensure!(texts.matches("mark-").count() == 1 && texts.contains(&format!("mark-{name}.")), "{name} tells {texts}");
    match (texts.contains("pl4ntedtext"), texts.contains("[REDACTED:openai_key]")) {
        (true, false) => Ok("full"),
        (false, true) => Ok("redacted"),
        _ => anyhow::bail!("{name} tells {texts}"),
    }
}

fn client(bench: &tests::harness::Bench, python: &Path) -> anyhow::Result<Running> {
    let mut command = Command::new(python);
    command.arg(clients().join("contents_live.py"));
    bench.equip(&mut command);
    let mut running = Running::start(&mut command)?;
    running.wait_for_line("begun")?;
    Ok(running)
}

#[test]
fn contents_follow_the_file_at_the_end_of_each_call() -> anyhow::Result<()> {
    let bench = bench!();
    let python = interpreter(&bench, "tap-python")?;
    // With the rules on, bodies are read even when no content is told.
    let config = |mode: &str| {
        format!(
            "select: {{include: [{{exe: {}}}]}}\nexporters: {{jsonl: [{{path: {}}}]}}\ncontent: {{capture: {mode}}}\nobserve: \
             {{rules: {{enabled: true}}}}\n",
            python.display(),
            bench.path("spans.jsonl").display()
        )
    };
    let daemon = Daemon::start(&bench, &config(MODES[0]))?;
    let mut client = client(&bench, &python)?;
    let pause = || std::thread::sleep(Duration::from_millis(2500));
    pause();
    let mut reloads = Vec::new();
    for (number, mode) in MODES[1..].iter().enumerate() {
        // Four seconds, across the reload.
        client.tell(&format!("stream l{number} 200"))?;
        client.wait_for_line(&format!("began l{number}"))?;
        let before = now()?;
        daemon.reload(&config(mode))?;
        reloads.push((before, now()?));
        client.wait_for_line(&format!("ended l{number}"))?;
        pause();
    }
    client.tell("end")?;
    let finished = client.finish()?;
    ensure!(finished.stdout.ends_with("done\n"), "{}\n{}", finished.stdout, finished.stderr);
    daemon.stop()?;

    let spans: Vec<Span> = bench.spans()?.into_iter().filter(Span::is_call).collect();
    let short = finished.stdout.lines().find_map(|line| line.strip_suffix(" calls")?.parse::<usize>().ok());
    let calls = short.context("no count")? + MODES.len() - 1;
    let mut ids: Vec<_> = spans.iter().filter_map(|span| span.text("gen_ai.response.id")).collect();
    ids.sort_unstable();
    ids.dedup();
    ensure!(ids.len() == calls && spans.len() == calls, "{} spans, {} ids of {calls} calls", spans.len(), ids.len());

    let mut certain = [0; MODES.len()];
    for span in &spans {
        let told = told(span)?;
        let (Some(began), Some(ended)) = (mode_at(span.start, &reloads), mode_at(span.end, &reloads)) else { continue };
        let expected = if began == "none" { "none" } else { ended };
        ensure!(told == expected, "{:?} began under {began} and ended under {ended}: told {told}", span.attributes);
        let phase = reloads.iter().filter(|(_, after)| *after < span.end).count();
        certain[phase] += 1;
    }
    ensure!(certain.iter().all(|calls| *calls > 10), "too few calls are certain: {certain:?}");
    // Those across a reload: from none to redacted, from redacted to full, from full to none.
    for (number, expected) in ["none", "full", "none"].into_iter().enumerate() {
        let id = format!("call-l{number}");
        let span = spans.iter().find(|span| span.text("gen_ai.response.id") == Some(&id)).context("no span")?;
        let (before, after) = reloads[number];
        ensure!(span.start < before && span.end > after, "{id} does not go across the reload");
        ensure!(told(span)? == expected, "{id}: {}", told(span)?);
    }
    println!("{calls} calls, of which the moment is certain for {certain:?} in the four phases");
    Ok(())
}
