//! Planted secrets, looked for in all that llmtap says. Credentials are nowhere, in no mode; payload is only where it was
//! asked for: in the recording, which replays need it for.

use std::{fs, net::TcpListener, os::unix::fs::MetadataExt};

use anyhow::{Context, ensure};
use tests::{
    harness::{Bench, Running, SECRET, finish, llmtap, signal, wait_for},
    receiver::Receiver,
};

use crate::bench;

/// Marks of what `planted.py` plants, and of what the test itself adds to its command line and environment.
const CREDENTIALS: [&str; 3] = ["pl4ntedcred", SECRET, "pl4ntedargument"];
const PAYLOAD: [&str; 2] = ["pl4ntedtext", "4111 1111 1111 1111"];
/// What stands where a name or an id belongs.
const NAMES: [&str; 1] = ["pl4ntedname"];
/// Secrets in payload: `planted.py` has them as they are, cut in pieces by a stream, with escapes and as base64.
const SECRETS: [&str; 9] = [
    "sk-proj-pl4ntedtext",
    "4111 1111 1111 1111",
    "pl4ntedtext@example.org",
    "pl4ntedtext-S3cret99",
    "pl4ntedtext0split",
    "pl4ntedtext0url",
    "pl4ntedtext0esc",
    "dGhlIGtleTogc2stcHJvai1wbDRudGVkdGV4d",
    "token=pl4",
];

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
    command.env("OTEL_RESOURCE_ATTRIBUTES", "team.note=sk-proj-pl4ntedname0123456789abcdefghij");
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
    expect_named(&spans)?;
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
    clean(&all, &[&CREDENTIALS[..], &PAYLOAD, &NAMES].concat())?;
    clean(&vec![("the recording".to_owned(), recording)], &CREDENTIALS)
}

/// What was planted in names must have been seen, and taken out.
fn expect_named(path: &str) -> anyhow::Result<()> {
    let spans = tests::spans::read(path.as_ref())?;
    let all = serde_json::json!(spans.iter().map(|span| (&span.attributes, &span.resource)).collect::<Vec<_>>());
    let all = all.to_string();
    for name in [
        "gen_ai.request.model",
        "gen_ai.response.model",
        "gen_ai.response.id",
        "gen_ai.request.previous_response.id",
        "gen_ai.conversation.id",
        "gen_ai.tool.name",
        "gen_ai.prompt.name",
        "mcp.method.name",
        "jsonrpc.request.id",
        "db.collection.name",
        "error.type",
        "session.id",
        "llmtap.tenant",
        "llmtap.feature",
        "llmtap.client.request_id",
    ] {
        ensure!(
            all.contains(&format!("\"{name}\":\"[REDACTED:openai_key]")),
            "no {name} was taken out: the test would show nothing"
        );
    }
    for taken in [
        "\"gen_ai.response.finish_reasons\":[\"[REDACTED:openai_key]\"]",
        "\"llmtap.tool_calls.names\":[\"[REDACTED:openai_key]\"]",
        "\"team.note\":\"[REDACTED:openai_key]\"",
        "\"user.id\":\"[REDACTED:email]\"",
        "\"error.type\":\"no money left for [REDACTED:email]\"",
        "\"mcp.resource.uri\":\"https://me:[REDACTED:email]/[REDACTED:openai_key]\"",
    ] {
        ensure!(all.contains(taken), "{taken} is not there: the test would show nothing");
    }
    Ok(())
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
        // The same events as a collector gets them.
        let receiver = Receiver::start(0)?;
        let url = receiver.url();
        let options =
            ["--output", "none", "--otlp-endpoint", &url, "--capture-content", capture, "--content-to", "events"];
        all.extend(said(&bench, &options)?);
        let mut logs = String::new();
        for export in receiver.received().iter().filter(|export| export.path == "/v1/logs") {
            logs += &export.json()?.to_string();
        }
        ensure!(
            logs.matches("pl4ntedtext").count() > 50,
            "events by OTLP logs hold little: the test would show nothing"
        );
        all.push((format!("{capture} OTLP logs"), logs.into_bytes()));
        Ok(all)
    };
    let full = told("full")?;
    clean(&full, &CREDENTIALS)?;
    let redacted = told("redacted")?;
    clean(&redacted, &CREDENTIALS)?;
    clean(&redacted, &[&SECRETS[..], &NAMES].concat())?;
    for (what, bytes) in full.iter().filter(|(what, _)| !what.starts_with("stderr")) {
        let text = String::from_utf8_lossy(bytes);
        for secret in &SECRETS[..8] {
            ensure!(text.contains(secret), "{secret} is not in {what}: the test would show nothing");
        }
    }
    let redacted: String = redacted.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect();
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
    clean(&all, &[&CREDENTIALS[..], &PAYLOAD, &NAMES].concat())
}

/// The half that reads plaintext breaks in the middle of it, with payload in the panic's own message.
#[test]
fn a_crash_tells_no_payload_and_does_no_harm() -> anyhow::Result<()> {
    if std::env::var_os("LLMTAP_BIN").is_some() {
        println!("skipped: only debug builds can be made to crash");
        return Ok(());
    }
    let bench = bench!();
    let (spans, record) = (bench.path("spans.jsonl"), bench.path("capture.jsonl"));
    let files = [&spans, &record].map(|path| path.display().to_string());
    let options = ["--output", "jsonl", "-o", &files[0], "--record", &files[1], "--capture-content", "full", "-vv"];
    let mut command = bench.traced(&options, &line(&bench)?)?;
    command.env("LLMTAP_CRASH_ON", "pl4ntedtext").env("RUST_BACKTRACE", "full");
    command.env("PLANTED_API_KEY", "pl4ntedargument");
    let finished = finish(&mut command)?;
    ensure!(finished.stdout == "done\n", "the traced program was harmed: {} {}", finished.stdout, finished.stderr);
    let told = &finished.stderr;
    ensure!(
        told.contains("internal error at ") && told.contains("its message is not shown"),
        "it did not crash: {told}"
    );
    ensure!(!finished.status.success(), "nobody is told of the crash: {}", finished.status);
    let said = vec![
        ("stderr of a crash".to_owned(), told.clone().into_bytes()),
        ("spans before a crash".to_owned(), fs::read(&spans)?),
    ];
    clean(&said, &[&CREDENTIALS[..], &PAYLOAD, &NAMES].concat())?;
    clean(&vec![("the recording".to_owned(), fs::read(&record)?)], &CREDENTIALS)
}

/// No core file of the half that reads plaintext; and in none of the other half is the memory that both share.
#[test]
fn a_core_holds_no_payload() -> anyhow::Result<()> {
    let bench = bench!();
    let script = r#"shift; "$@"; echo planted; read -r _"#;
    let mut wrapped: Vec<String> = ["/bin/sh", "-c", script, "sh", "-"].map(str::to_owned).into();
    wrapped.extend(line(&bench)?);
    let traced = bench.traced(&["--output", "none"], &wrapped)?;
    // Cores of any size, in a folder of the test's own.
    let folder = bench.path("cores");
    fs::create_dir(&folder)?;
    std::os::unix::fs::chown(&folder, Some(65_534), Some(65_534))?;
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "ulimit -c unlimited && exec \"$@\"", "sh"]).arg(traced.get_program()).args(traced.get_args());
    bench.equip(&mut command).current_dir(&folder);
    let mut running = Running::start(&mut command)?;
    running.wait_for_line("planted")?;
    let halves = [vec![running.id()], descendants(running.id())].concat();
    let parsing = *halves.iter().find(|pid| is_confined(**pid)).context("no parsing half")?;
    let maps = |pid: u32| -> anyhow::Result<Vec<String>> {
        let mut rings = Vec::new();
        let mut in_ring = false;
        for line in fs::read_to_string(format!("/proc/{pid}/smaps"))?.lines() {
            match line.strip_prefix("VmFlags:") {
                Some(flags) if in_ring => rings.push(flags.to_owned()),
                Some(_) => {}
                None if line.split_whitespace().next().is_some_and(|first| first.contains('-')) => {
                    in_ring = line.contains("bpf");
                }
                None => {}
            }
        }
        Ok(rings)
    };
    for (half, pid) in [("privileged", running.id()), ("parsing", parsing)] {
        let rings = maps(pid)?;
        ensure!(!rings.is_empty(), "the {half} half maps no ring");
        let kept = rings.iter().find(|flags| !flags.split_whitespace().any(|flag| flag == "dd"));
        ensure!(kept.is_none(), "a core of the {half} half would hold the ring: {kept:?}");
    }
    signal("ABRT", parsing.into())?;
    running.tell("")?;
    let finished = running.finish()?;
    ensure!(!finished.status.success(), "nobody is told of the crash: {}", finished.status);
    let cores = fs::read_dir(&folder)?.count();
    ensure!(cores == 0, "{cores} core files");
    Ok(())
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
