//! The package under a real systemd: a manager of our own, as root, in a mount namespace of its own.
//!
//! It is not the machine's first process, since llmtap must be in the first PID namespace and there the first process is
//! another one. Units are run by the same code.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};
use serde_json::json;
use tests::harness::{Bench, finish, untraceable};

use crate::{is_there, released};

const MANAGER: &str = "/lib/systemd/systemd";

/// Arguments: a folder for what is found, the package, the configuration, a new cgroup, and the client's command line.
/// What the package installs and the service writes lies in memory, over the machine's own folders.
const RUN: &str = r#"
folder=$1 package=$2 config=$3 cgroup=$4
shift 4
over=$folder/over
mkdir "$over" && mount -t tmpfs tmpfs "$over" || exit 3
for name in usr etc var; do
    mkdir -p "$over/$name.upper" "$over/$name.work"
    mount -t overlay overlay -o "lowerdir=/$name,upperdir=$over/$name.upper,workdir=$over/$name.work" "/$name" || exit 3
done
mount -t tmpfs tmpfs /run && mkdir -p /run/lock /run/systemd/system /run/units || exit 3
dpkg --install "$package" >/dev/null 2>&1 || exit 1
cp "$config" /etc/llmtap/config.yaml
cp /usr/lib/systemd/system/llmtap.service /run/units/
for name in basic sysinit shutdown; do printf '[Unit]\nDefaultDependencies=no\n' >"/run/units/$name.target"; done

mkdir -p "$cgroup/manager" && echo $$ >"$cgroup/manager/cgroup.procs" || exit 3
export XDG_RUNTIME_DIR=/run XDG_CACHE_HOME=/var/cache SYSTEMD_UNIT_PATH=/run/units
/lib/systemd/systemd --user --unit=basic.target >"$folder/manager" 2>&1 </dev/null &
manager=$!
leave() {
    [ ! -e "$cgroup/app.slice/llmtap.service/cgroup.procs" ] || xargs -r kill -KILL <"$cgroup/app.slice/llmtap.service/cgroup.procs"
    kill -KILL $manager
    wait $manager
    echo $$ >"${cgroup%/*}/cgroup.procs"
    for turn in 1 2 3 4 5 6 7 8 9 10; do find "$cgroup" -depth -type d -exec rmdir {} + && break; sleep 0.2; done
} 2>/dev/null
trap leave EXIT
for turn in $(seq 100); do [ -S /run/systemd/private ] && break; sleep 0.1; done
[ -S /run/systemd/private ] || exit 3

service() { timeout 60 systemctl --user "$@"; }
show() { service show llmtap --property "$2" --value | sed "s/^/$1=/"; }
service start llmtap || { service status --no-pager llmtap; exit 1; }
show started ActiveState
show started-status StatusText
pid=$(service show llmtap --property MainPID --value)
grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp):' "/proc/$pid/status" | tr -d '\t'
awk '$5 == "/usr" || $5 == "/tmp" || $5 == "/" { print "mount=" $5 " " $6 }' "/proc/$pid/mountinfo"
show beat WatchdogTimestampMonotonic
"$@" || exit 1
sleep 3
show beat WatchdogTimestampMonotonic
echo 'nonsense: true' >>/etc/llmtap/config.yaml
service reload llmtap
show refused-status StatusText
cp "$config" /etc/llmtap/config.yaml
service reload llmtap
show reloaded-status StatusText
"$@" || exit 1
service stop llmtap || exit 1
show stopped ActiveState
show stopped-result Result
show stopped-code ExecMainStatus
cp /var/cache/llmtap/spans.jsonl "$folder/spans.jsonl"
"#;

fn missing(package: &Path) -> Option<String> {
    if !package.exists() {
        return Some("no package: `cargo xtask dist deb` makes it".to_owned());
    }
    if !Path::new(MANAGER).exists() {
        return Some("no systemd (Debian package systemd)".to_owned());
    }
    let missing = ["dpkg", "systemctl", "unshare", "awk", "timeout"].into_iter().find(|name| !is_there(name))?;
    Some(format!("no {missing}"))
}

#[test]
fn a_service_manager_runs_the_package() -> anyhow::Result<()> {
    let package = released(&format!("llmtap_{}_amd64.deb", env!("CARGO_PKG_VERSION")));
    if let Some(why) = untraceable().or_else(|| missing(&package)) {
        println!("skipped: {why}");
        return Ok(());
    }
    let places = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup"].map(Path::new);
    let Some(place) = places.into_iter().find(|place| place.join("cgroup.procs").exists()) else {
        println!("skipped: no cgroups for a service manager");
        return Ok(());
    };
    let bench = Bench::new()?;
    let client = bench.script("moment.py", &[])?;
    let config = bench.path("config.yaml");
    // The one folder that the unit lets the service write.
    let text = json!({
        "select": { "include": [{ "command_line": format!("* {}", client[1]) }] },
        "exporters": { "jsonl": [{ "path": "/var/cache/llmtap/spans.jsonl" }] }
    });
    fs::write(&config, text.to_string() + "\n")?;
    let mut run = Command::new("unshare");
    run.args(["--mount", "--propagation", "private", "sh", "-c", RUN, "sh"]).arg(bench.path("")).arg(&package);
    run.arg(&config).arg(place.join(format!("llmtap-test-{}", std::process::id()))).args(&client);
    run.env_remove("NOTIFY_SOCKET");
    let done = finish(bench.equip(&mut run))?;
    let manager = || fs::read_to_string(bench.path("manager")).unwrap_or_default();
    if done.status.code() == Some(3) {
        println!("skipped: no service manager of our own here: {}{}", done.stderr, manager());
        return Ok(());
    }
    ensure!(done.status.success(), "{}{}{}", done.stdout, done.stderr, manager());

    let said = |name: &str| -> Vec<&str> {
        done.stdout.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(['=', ':'])).collect()
    };
    for (name, expected) in [
        ("started", "active"),
        ("started-status", "tracing"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
        ("refused-status", "tracing; the file's last change was refused: see the log"),
        ("reloaded-status", "tracing"),
        ("stopped", "inactive"),
        ("stopped-result", "success"),
        ("stopped-code", "0"),
    ] {
        ensure!(said(name) == [expected], "{name}: {:?}\n{}", said(name), done.stdout);
    }
    let [first, second] = said("beat")[..] else { anyhow::bail!("no watchdog: {}", done.stdout) };
    ensure!(second.parse::<u64>()? > first.parse::<u64>()?, "the watchdog hears nothing: {first} {second}");
    // SYS_ADMIN, SYS_PTRACE, DAC_READ_SEARCH, KILL: SETUID and SETGID are given up once it traces.
    ensure!(said("CapEff") == ["0000000000280024"], "{}", done.stdout);
    let mounts = said("mount");
    let is_read_only = |point: &str| mounts.iter().any(|mount| mount.starts_with(&format!("{point} ro")));
    ensure!(is_read_only("/") && mounts.iter().any(|mount| mount.starts_with("/tmp ")), "{mounts:?}");
    let report = bench.expect_exact(2).with_context(|| done.stderr.clone())?;
    println!("{report}");
    Ok(())
}
