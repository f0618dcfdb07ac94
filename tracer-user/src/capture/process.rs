//! Reads from /proc what later stages need of a process (proc(5)).

use std::{
    ffi::OsString,
    fs, io,
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{Process, gate};
use crate::environment::{parse_resource_attributes, tells_of_models};

/// Longest text taken from a process, bytes. Command lines and environments belong to others and can be large.
const MAX_TEXT: usize = 4096;

/// Longest value of a variable that goes to the other half, bytes: names of teams and the like are far shorter.
const MAX_VARIABLE: usize = 256;

/// Most of `/proc/PID/environ` that is looked at, bytes.
const MAX_ENVIRONMENT: usize = 1 << 20;

/// Programs that run a script named by their first argument.
const INTERPRETERS: [&str; 12] =
    ["python", "node", "nodejs", "ruby", "perl", "php", "bun", "deno", "bash", "sh", "tsx", "uv"];

/// Clock ticks per second of `/proc/PID/stat`: fixed at 100 for user space on every architecture that llmtap runs on.
const TICKS_PER_SECOND: u64 = 100;

/// The facts of process `pid`, as far as they can be read. Of its environment only `variables` are kept.
pub fn facts(pid: u32, variables: &[String]) -> io::Result<Process> {
    facts_in(&Path::new("/proc").join(pid.to_string()), pid, boot_time(), variables)
}

/// The facts of process `pid` as they will be once it executes `exe`, for which it is held.
pub fn facts_of_held(pid: u32, exe: &Path, variables: &[String]) -> io::Result<Process> {
    let texts = |all: Vec<OsString>| all.iter().map(|text| text.to_string_lossy().into_owned()).collect();
    let image = Image {
        exe: Some(exe.to_string_lossy().into_owned()),
        arguments: texts(gate::command_line(pid)),
        environment: texts(gate::environment(pid)),
    };
    facts_of_image(&Path::new("/proc").join(pid.to_string()), pid, boot_time(), variables, image)
}

/// The effective user of process `pid`.
pub fn user(pid: u32) -> Option<u32> {
    uid(&Path::new("/proc").join(pid.to_string()).join("status"))
}

/// The parent of process `pid`.
pub fn parent(pid: u32) -> Option<u32> {
    Some(parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?.0)
}

/// Whether process `pid` exists.
pub fn is_alive(pid: u32) -> bool {
    pid != 0 && Path::new("/proc").join(pid.to_string()).exists()
}

/// Whether this process is in the machine's first PID namespace, whose numbers the kernel side sees.
pub fn in_first_pid_namespace() -> bool {
    /// `PROC_PID_INIT_INO` (linux/proc_ns.h).
    const FIRST: &str = "pid:[4026531836]";
    fs::read_link("/proc/self/ns/pid").is_ok_and(|name| name.as_os_str() == FIRST)
}

/// Processes of other PID namespaces that have the number `pid` inside them.
pub fn numbered_inside(pid: u32) -> Vec<u32> {
    let inside = |outer: &u32| {
        let status = fs::read_to_string(format!("/proc/{outer}/status")).ok()?;
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
        Some(numbers.split_ascii_whitespace().skip(1).last()?.parse::<u32>().ok()? == pid)
    };
    running().into_iter().filter(|outer| inside(outer) == Some(true)).collect()
}

/// PIDs of all processes that run now, in ascending order.
pub fn running() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

/// PIDs of the children of process `pid`, of all its threads.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let of_task = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    let lists: Vec<String> = tasks.filter_map(Result::ok).map(of_task).collect();
    lists.iter().flat_map(|list| list.split_whitespace()).filter_map(|pid| pid.parse().ok()).collect()
}

/// Whether the runtime in this executable never resumes a call on another thread and never switches stacks inside a
/// call of its TLS library, although it runs code on stacks of its own making.
pub fn keeps_coroutines_on_their_thread(exe: &str) -> bool {
    let name = file_name(exe);
    let base = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    matches!(base, "ruby" | "php" | "php-fpm")
}

/// Nanoseconds since the Unix epoch.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn facts_in(proc: &Path, pid: u32, boot_ns: Option<u64>, variables: &[String]) -> io::Result<Process> {
    let image = Image {
        arguments: arguments(&proc.join("cmdline")),
        exe: fs::read_link(proc.join("exe")).ok().map(|path| path.to_string_lossy().into_owned()),
        environment: environment(&proc.join("environ")),
    };
    facts_of_image(proc, pid, boot_ns, variables, image)
}

/// What a process has of the program that it runs.
struct Image {
    exe: Option<String>,
    arguments: Vec<String>,
    environment: Vec<String>,
}

fn facts_of_image(
    proc: &Path,
    pid: u32,
    boot_ns: Option<u64>,
    variables: &[String],
    image: Image,
) -> io::Result<Process> {
    let Image { exe, arguments, environment } = image;
    let stat = fs::read_to_string(proc.join("stat"))?;
    let (ppid, start_ticks) = parse_stat(&stat).ok_or(io::ErrorKind::InvalidData)?;
    let variable = |name: &str| {
        environment
            .iter()
            .find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
            .filter(|value| !value.is_empty())
    };
    // What has line breaks and the like is no name of anything.
    let plain = |value: &&str| value.len() <= MAX_VARIABLE && !value.contains(char::is_control);
    let named = |name: &String| Some((name.clone(), variable(name).filter(plain)?.to_owned()));
    let resource_attributes = variable("OTEL_RESOURCE_ATTRIBUTES").map(parse_resource_attributes).unwrap_or_default();
    let stated = variable("OTEL_SERVICE_NAME")
        .map(str::to_owned)
        .or_else(|| resource_attributes.iter().find(|(key, _)| key == "service.name").map(|(_, value)| value.clone()));
    let service_is_stated = stated.is_some();
    let service = stated.or_else(|| script(&arguments)).or_else(|| exe.as_deref().map(file_name));
    Ok(Process {
        pid,
        ppid: Some(ppid),
        start: boot_ns.map(|boot| boot + start_ticks * (1_000_000_000 / TICKS_PER_SECOND)),
        exe: exe.map(cut),
        argv0: arguments.first().cloned().map(cut),
        uid: uid(&proc.join("status")),
        service: service.map(cut),
        service_is_stated,
        environment: variables.iter().filter_map(named).collect(),
        tells_of_models: tells_of_models(&variable),
        resource_attributes,
        ..Process::default()
    })
}

/// Parent and start time (ticks after boot). The command name in parentheses may hold anything, also parentheses.
fn parse_stat(stat: &str) -> Option<(u32, u64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}

/// Boot time, nanoseconds since the Unix epoch.
fn boot_time() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let seconds: u64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    seconds.checked_mul(1_000_000_000)
}

fn uid(status: &Path) -> Option<u32> {
    let status = fs::read_to_string(status).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
}

fn arguments(cmdline: &Path) -> Vec<String> {
    let mut bytes = fs::read(cmdline).unwrap_or_default();
    bytes.truncate(MAX_TEXT);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.split_terminator('\0').map(str::to_owned).collect()
}

fn environment(environ: &Path) -> Vec<String> {
    let mut bytes = fs::read(environ).unwrap_or_default();
    bytes.truncate(MAX_ENVIRONMENT);
    bytes.split(|byte| *byte == 0).map(|entry| String::from_utf8_lossy(entry).into_owned()).collect()
}

/// The script that an interpreter runs: `agent.py` of `python3 -u agent.py`, `pkg` of `python3 -m pkg`.
fn script(arguments: &[String]) -> Option<String> {
    let interpreter = file_name(arguments.first()?);
    let base = interpreter.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    if !INTERPRETERS.contains(&base) {
        return None;
    }
    let mut rest = arguments.iter().skip(1).skip_while(|argument| *argument == "run");
    loop {
        let argument = rest.next()?;
        match argument.as_str() {
            "-m" => return rest.next().cloned(),
            "-c" | "-e" | "-" | "--eval" => return None,
            // Options with a value of their own.
            "-W" | "-X" | "-r" | "--require" | "--import" | "--loader" => drop(rest.next()),
            option if option.starts_with('-') => {}
            script => return Some(file_name(script)),
        }
    }
}

fn file_name(path: &str) -> String {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

fn cut(mut text: String) -> Arc<str> {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(arguments: &[&str]) -> Vec<String> {
        arguments.iter().map(|argument| (*argument).to_owned()).collect()
    }

    #[test]
    fn the_service_is_the_script_of_an_interpreter() {
        for (arguments, expected) in [
            (&["/usr/bin/python3.11", "-u", "/srv/agent.py", "--x"][..], Some("agent.py")),
            (&["python3", "-W", "ignore", "-m", "uvicorn", "app"], Some("uvicorn")),
            (&["node", "--require", "x.js", "dist/main.js"], Some("main.js")),
            (&["python3", "-c", "print()"], None),
            (&["deno", "run", "-A", "bot.ts"], Some("bot.ts")),
            (&["/usr/bin/curl", "x"], None),
            (&[], None),
        ] {
            assert_eq!(script(&strings(arguments)).as_deref(), expected, "{arguments:?}");
        }
    }

    #[test]
    fn reads_this_process() {
        let named = ["CARGO_PKG_NAME".to_owned(), "NO SUCH".to_owned()];
        let facts = facts(std::process::id(), &named).unwrap();
        let own = std::env::var("CARGO_PKG_NAME").ok().map(|value| (named[0].clone(), value));
        assert_eq!(facts.environment, own.into_iter().collect::<Vec<_>>());
        assert!(facts.exe.is_some() && facts.uid.is_some());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let age = now.abs_diff(facts.start.unwrap());
        assert!(age < 3_600_000_000_000, "started {age} ns ago");
    }

    #[test]
    fn odd_names_are_read_right() {
        let stat = "7 (a) b (c)) S 42 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 0 0";
        assert_eq!(parse_stat(stat), Some((42, 12345)));
    }
}
