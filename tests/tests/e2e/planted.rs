//! Planted secrets, looked for in all that llmtap says. Credentials are nowhere, in no mode; payload is only where it was
//! asked for: in the recording, which replays need it for.

use std::{fs, net::TcpListener, os::unix::fs::MetadataExt};

use anyhow::{Context, ensure};
use tests::{
    harness::{Bench, Running, SECRET, finish, llmtap, wait_for},
    receiver::Receiver,
};

use crate::bench;

/// Marks of what `planted.py` plants, and of what the test itself adds to its command line and environment.
const CREDENTIALS: [&str; 3] = ["pl4ntedcred", SECRET, "pl4ntedargument"];
const PAYLOAD: [&str; 2] = ["pl4ntedtext", "4111 1111 1111 1111"];

/// Outputs by name.
type Said = Vec<(String, Vec<u8>)>;

fn clean(said: &Said, marks: &[&str]) -> anyhow::Result<()> {
    for (what, bytes) in said {
        let text = String::from_utf8_lossy(bytes);
        for mark in marks {
            let lines: Vec<&str> = text.lines().filter(|line| line.contains(mark)).take(3).collect();
            ensure!(lines.is_empty(), "{mark} is in {what}: {lines:#?}");
        }
    }
    Ok(())
}

fn line(bench: &Bench) -> anyhow::Result<Vec<String>> {
    bench.script("planted.py", &["--password=pl4ntedargument", "https://me:pl4ntedargument@example.org/"])
}

/// Runs the client once with these options and gives what llmtap itself said.
fn said(bench: &Bench, options: &[&str]) -> anyhow::Result<Said> {
    let mut command = bench.traced(options, &line(bench)?)?;
    command.env("PLANTED_API_KEY", "pl4ntedargument").env("PLANTED_TEXT", "pl4ntedtext");
    command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
    // Only for our own collector: it must not be told in diagnostics.
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer pl4ntedcred");
    let finished = finish(&mut command)?;
    ensure!(finished.status.success() && finished.stdout == "done\n", "{}: {}", finished.status, finished.stderr);
    Ok(vec![(format!("stderr of {options:?}"), finished.stderr.into_bytes())])
}

#[test]
fn nothing_that_was_planted_is_in_any_output() -> anyhow::Result<()> {
    let bench = bench!();
    let receiver = Receiver::start(1)?;
    let file = |name: &str| bench.path(name).display().to_string();
    let (spans, pretty, record) = (file("spans.jsonl"), file("pretty.txt"), file("capture.jsonl"));
    let mut all = Said::new();
    // Each view, each level and form of diagnostics.
    let views: [&[&str]; 4] = [
        &["--output", "jsonl", "-o", &spans, "--record", &record],
        &["--output", "pretty", "-o", &pretty],
        &["--output", "none", "--otlp-endpoint", &receiver.url()],
        &["--output", "pretty"],
    ];
    for (view, verbosity) in views.into_iter().zip([&["-v"][..], &["-vv"], &["-vvv"], &["-vv", "--log-format", "json"]])
    {
        all.extend(said(&bench, &[view, verbosity].concat())?);
    }
    for name in [&spans, &pretty] {
        let bytes = fs::read(name)?;
        let text = String::from_utf8_lossy(&bytes);
        ensure!(text.lines().count() > 25, "there is little in {name}: the test would show nothing: {text}");
        all.push((name.clone(), bytes));
    }
    let exports = receiver.received();
    for path in ["/v1/traces", "/v1/metrics"] {
        ensure!(exports.iter().any(|export| export.path == path), "nothing came for {path}");
    }
    for export in &exports {
        all.push((format!("OTLP to {}", export.path), export.json()?.to_string().into_bytes()));
    }
    let recording = fs::read(&record)?;
    // It is there to be read again: payload is in it, in more than one call.
    let marks = recording.windows(11).filter(|window| window == b"pl4ntedtext").count();
    ensure!(marks > 50, "the recording holds {marks} marks of payload: the test would show nothing");
    for (what, options) in [("pretty", &["--output", "pretty"][..]), ("jsonl", &["--output", "jsonl", "-vv"])] {
        let replayed = finish(std::process::Command::new(llmtap()?).args(["replay", &record]).args(options))?;
        ensure!(replayed.status.success(), "{}", replayed.stderr);
        all.push((format!("replay as {what}"), replayed.stdout.into_bytes()));
        all.push((format!("diagnostics of replay as {what}"), replayed.stderr.into_bytes()));
    }
    clean(&all, &[&CREDENTIALS[..], &PAYLOAD].concat())?;
    clean(&vec![("the recording".to_owned(), recording)], &CREDENTIALS)
}

/// Contents that are told redacted hold payload, and no secret of it; told in full they hold no credential of a header.
#[test]
fn contents_are_told_without_what_was_planted() -> anyhow::Result<()> {
    let bench = bench!();
    let told = |capture: &str| -> anyhow::Result<Said> {
        let spans = bench.path(&format!("{capture}.jsonl"));
        let file = spans.display().to_string();
        let options = ["--output", "jsonl", "-o", &file, "--capture-content", capture, "--content-to", "both", "-vv"];
        let mut all = said(&bench, &options)?;
        all.push((format!("{capture} contents"), fs::read(&spans)?));
        Ok(all)
    };
    let full = told("full")?;
    clean(&full, &CREDENTIALS)?;
    let redacted = told("redacted")?;
    clean(&redacted, &CREDENTIALS)?;
    let secrets =
        ["sk-proj-pl4ntedtext", "4111 1111 1111 1111", "pl4ntedtext@example.org", "pl4ntedtext-S3cret99", "token=pl4"];
    clean(&redacted, &secrets)?;
    let text =
        |said: &Said| said.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect::<String>();
    let (full, redacted) = (text(&full), text(&redacted));
    for secret in &secrets[..4] {
        ensure!(full.contains(secret), "{secret} is not in the full contents: the test would show nothing");
    }
    for rule in ["openai_key", "card_number", "email", "assigned_secret"] {
        ensure!(redacted.contains(&format!("[REDACTED:{rule}]")), "{rule} has taken nothing out");
    }
    ensure!(redacted.matches("pl4ntedtext").count() > 50, "the redacted contents hold no payload");
    Ok(())
}

/// What is asked from outside while it works: `/metrics`, `doctor`, and what the kernel would keep of a crash.
#[test]
fn nothing_that_was_planted_is_in_metrics_doctor_or_a_core() -> anyhow::Result<()> {
    let bench = bench!();
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    // The client ends, the shell goes on: both are there to be looked at.
    let script = r#"shift; "$@"; echo planted; read -r _"#;
    let mut wrapped: Vec<String> = ["/bin/sh", "-c", script, "sh", "--token=pl4ntedargument"].map(str::to_owned).into();
    wrapped.extend(line(&bench)?);
    let mut command = bench.traced(&["--metrics-listen", &address, "-vv"], &wrapped)?;
    command.env("PLANTED_API_KEY", "pl4ntedargument");
    let mut running = Running::start(&mut command)?;
    running.wait_for_line("planted")?;
    let mut all = Said::new();
    let scrape = || {
        let (text, _) = get(&address).ok()?;
        text.contains("llmtap_client_errors_total").then_some(text)
    };
    all.push(("/metrics".to_owned(), wait_for("metrics of the calls", scrape)?.into_bytes()));
    for arguments in [&["doctor", "--json"][..], &["doctor"], &["doctor", "--pid", &running.id().to_string(), "--json"]]
    {
        let mut doctor = std::process::Command::new(llmtap()?);
        let told = finish(doctor.args(arguments))?;
        ensure!(told.stdout.len() > 100, "doctor says nothing: {}", told.stderr);
        all.push((format!("{arguments:?}"), told.stdout.into_bytes()));
        all.push((format!("diagnostics of {arguments:?}"), told.stderr.into_bytes()));
    }
    // The half that holds plaintext leaves no core, and no process of its user can look into it: /proc is root's then.
    let halves = descendants(running.id());
    let parsing: Vec<_> = halves.iter().filter(|pid| is_confined(**pid)).collect();
    ensure!(parsing.len() == 1, "one process reads plaintext, not {parsing:?} of {halves:?}");
    let owner = fs::metadata(format!("/proc/{}/environ", parsing[0])).context("no /proc entry")?.uid();
    ensure!(owner == 0, "the half that reads plaintext can be dumped: its /proc belongs to {owner}");
    running.tell("")?;
    let finished = running.finish()?;
    ensure!(finished.status.success(), "{}", finished.stderr);
    all.push(("stderr".to_owned(), finished.stderr.into_bytes()));
    clean(&all, &[&CREDENTIALS[..], &PAYLOAD].concat())
}

/// The body and the whole of an answer.
fn get(address: &str) -> anyhow::Result<(String, usize)> {
    use std::io::{Read, Write};
    let mut tcp = std::net::TcpStream::connect(address)?;
    tcp.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    let length = tcp.read_to_string(&mut text)?;
    Ok((text, length))
}

fn descendants(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<u32> = children.split_whitespace().filter_map(|child| child.parse().ok()).collect();
    let below: Vec<u32> = children.iter().flat_map(|child| descendants(*child)).collect();
    [children, below].concat()
}

/// Whether it is llmtap with a seccomp filter: the parsing half.
fn is_confined(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let has = |line: &str| status.lines().any(|own| own.split_whitespace().eq(line.split_whitespace()));
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.starts_with("llmtap") && has("Seccomp: 2")
}
