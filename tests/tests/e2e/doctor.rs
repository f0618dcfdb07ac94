//! `llmtap doctor` against planted failures: each gets the reason code that docs/runtimes.md lists.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use serde_json::Value;
use tests::harness::{Bench, Running, finish, llmtap, workspace};

use crate::{bench, robustness::wait_for_probes};

/// Where the programs and files of one test lie.
struct Nursery<'a>(&'a Bench);

impl Nursery<'_> {
    /// Compiles; an error says what the compiler said.
    fn compile(&self, name: &str, source: &Path, arguments: &[&str]) -> anyhow::Result<PathBuf> {
        let path = self.0.path(name);
        let built = finish(Command::new("cc").arg("-o").arg(&path).arg(source).args(arguments))?;
        ensure!(built.status.success(), "{name}: {}", built.stderr);
        Ok(path)
    }

    /// The program that holds things.
    fn holder(&self, name: &str, arguments: &[&str]) -> anyhow::Result<PathBuf> {
        let source = self.0.path("holder.c");
        fs::write(&source, include_str!("holder.c"))?;
        let define = "-DSOURCE=\"none\"";
        let define =
            if arguments.iter().any(|argument| argument.starts_with("-DSOURCE")) { &[][..] } else { &[define] };
        self.compile(name, &source, &[arguments, define].concat())
    }

    /// A library with functions that do nothing.
    fn library(&self, name: &str, functions: &[&str]) -> anyhow::Result<PathBuf> {
        let source = self.0.path("library.c");
        let bodies: String =
            functions.iter().map(|function| format!("int {function}(void) {{ return 0; }}\n")).collect();
        fs::write(&source, bodies)?;
        self.compile(name, &source, &["-shared", "-fPIC"])
    }
}

/// A program that runs, and the reason that `doctor` must give for it.
struct Plant {
    wanted: &'static str,
    program: Running,
}

fn plant(wanted: &'static str, program: &Path, arguments: &[&str]) -> anyhow::Result<Plant> {
    let mut program = Running::start(Command::new(program).args(arguments))?;
    // The 32-bit program says nothing: it has no C library.
    if wanted != "architecture" {
        program.wait_for_line("ready").context(wanted)?;
    }
    Ok(Plant { wanted, program })
}

fn report(command: &mut Command, arguments: &[&str]) -> anyhow::Result<Value> {
    let finished = finish(command.args(["doctor", "--json"]).args(arguments))?;
    serde_json::from_str(&finished.stdout).with_context(|| finished.stderr)
}

fn reasons(report: &Value, pid: u32) -> Vec<String> {
    let processes = report["processes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let own = processes.iter().filter(|process| process["pid"] == pid);
    own.filter_map(|process| Some(process["reason"].as_str()?.to_owned())).collect()
}

#[test]
fn each_planted_process_gets_its_reason() -> anyhow::Result<()> {
    let bench = bench!();
    let nursery = Nursery(&bench);
    let holder = nursery.holder("holder", &[])?;
    let named = |name: &str| -> anyhow::Result<PathBuf> {
        fs::copy(&holder, bench.path(name))?;
        Ok(bench.path(name))
    };
    let text = |path: &Path| path.display().to_string();

    let stripped = nursery.holder("stripped", &["-s", "-DREPORTED=20", "-DSOURCE=\"../ssl/ssl_lib.c\""])?;
    let linked =
        nursery.holder("linked", &["-w", "-s", "-DLINKED", "-l:libssl.a", "-l:libcrypto.a", "-ldl", "-lpthread"])?;
    let boring = nursery.holder("boring", &["-s", "-DREPORTED=16", "-DSOURCE=\"/src/boringssl/ssl/ssl_lib.cc\""])?;
    // What it looks for or prints is in no report of its own.
    let searching = nursery.holder("searching", &["-s", "-DSOURCE=\"/src/boringssl/ssl/ssl_lib.cc\""])?;
    let old = nursery.library("libssl.so.1.0.0", &["SSL_read", "SSL_write", "SSL_free"])?;
    let libre =
        nursery.library("libssl.so.56", &["SSL_read", "SSL_write", "SSL_read_ex", "SSL_CTX_load_verify_mem"])?;
    let narrow = bench.path("narrow.c");
    fs::write(&narrow, r#"__asm__(".globl _start\n_start: mov $29, %eax\nint $0x80\njmp _start");"#)?;
    let narrow = nursery.compile("narrow", &narrow, &["-m32", "-nostdlib", "-static"])?;
    let broken = bench.path("libssl-broken.so.3");
    // A library for x86-64, whose header then leads nowhere.
    let header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0";
    fs::write(&broken, [header.as_slice(), &[0xff; 4096]].concat())?;
    let huge = bench.path("libssl-huge.so.3");
    File::create(&huge)?.set_len((1 << 30) + 4096)?;

    let plants = [
        plant("openssl_stripped", &stripped, &[])?,
        plant("boringssl_stripped", &boring, &[])?,
        plant("openssl_old", &holder, &["load", &text(&old)])?,
        plant("libressl", &holder, &["load", &text(&libre)])?,
        plant("architecture", &narrow, &[])?,
        plant("malformed_elf", &holder, &["map", &text(&broken)])?,
        plant("too_large", &holder, &["map", &text(&huge)])?,
        plant("gvisor", &named("runsc")?, &[])?,
        plant("virtual_machine", &named("firecracker")?, &[])?,
        plant("quic", &holder, &["quic"])?,
        plant("io_uring", &holder, &["ring"])?,
        // It has the tables that the other one lacks.
        plant("ok_found", &linked, &[])?,
    ];
    let report_all = report(&mut Command::new(llmtap()?), &[])?;
    let found: Vec<_> = plants.iter().map(|plant| reasons(&report_all, plant.program.id())).collect();
    let wanted: Vec<_> = plants.iter().map(|plant| vec![plant.wanted.to_owned()]).collect();
    ensure!(found == wanted, "found {found:?}, not {wanted:?}");
    let searching = plant("nothing", &searching, &[])?;
    let found = reasons(&report(&mut Command::new(llmtap()?), &[])?, searching.program.id());
    ensure!(found.is_empty(), "of a program that only names a library: {found:?}");

    // Nobody in particular may not read what belongs to root.
    let own = plants[2].program.id();
    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(world_readable(&bench)?);
    let found = reasons(&report(&mut nobody, &["--pid", &own.to_string()])?, own);
    ensure!(found == ["unreadable"], "{found:?}");
    println!("12 of 12 reason codes of processes, and a program with OpenSSL inside that is hooked");
    Ok(())
}

/// The program, where every user may execute it.
fn world_readable(bench: &Bench) -> anyhow::Result<PathBuf> {
    let copy = bench.path("llmtap");
    fs::copy(llmtap()?, &copy)?;
    Ok(copy)
}

/// What `doctor` says of the machine when the shell commands before it have changed what it sees.
fn machine(prepare: &str, namespaces: &[&str]) -> anyhow::Result<(bool, BTreeSet<String>)> {
    let mut command = Command::new("unshare");
    command.args(["--mount"]).args(namespaces).args(["sh", "-c", &format!("{prepare}\nexec \"$0\" \"$@\"")]);
    let report = report(command.arg(llmtap()?), &["--pid", "1"])?;
    let checks = report["machine"]["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let reasons = checks.iter().filter_map(|check| Some(check["reason"].as_str()?.to_owned())).collect();
    Ok((report["machine"]["ready"] == true, reasons))
}

/// A stripped library whose calls are seen at their ends by a kernel with uprobe sessions alone.
#[test]
fn what_an_older_kernel_cannot_hook_is_refused_there() -> anyhow::Result<()> {
    let bench = bench!();
    let nursery = Nursery(&bench);
    let table = workspace().join("tracer-user/src/capture/locate/tests/table.c").display().to_string();
    let glue = bench.path("glue.c");
    fs::write(
        &glue,
        "int number;\nint *error_number(void) { return &number; }\nvoid in_handshake(void *s, int on) {}\n",
    )?;
    let glue = glue.display().to_string();
    let endless = nursery.holder("endless", &["-w", "-O1", "-s", "-DNAMED", &table, &glue])?;
    let linked =
        nursery.holder("linked", &["-w", "-s", "-DLINKED", "-l:libssl.a", "-l:libcrypto.a", "-ldl", "-lpthread"])?;
    let (endless, linked) = (plant("", &endless, &[])?, plant("", &linked, &[])?);
    for (release, wanted) in [("6.1.0-1", "attach_refused"), ("6.13.0-1", "ok_found")] {
        let mut command = Command::new("unshare");
        let prepare = "mount -t tmpfs none /tmp && echo $RELEASE > /tmp/release &&
            mount --bind /tmp/release /proc/sys/kernel/osrelease";
        command.args(["--mount", "sh", "-c", &format!("{prepare}\nexec \"$0\" \"$@\"")]).arg(llmtap()?);
        let told = report(command.env("RELEASE", release), &[])?;
        let found = reasons(&told, endless.program.id());
        ensure!(found == [wanted], "{release}: {found:?}");
        // Real builds have ends that are found.
        let found = reasons(&told, linked.program.id());
        ensure!(found == ["ok_found"], "{release}: {found:?}");
    }
    Ok(())
}

#[test]
fn each_lack_of_the_machine_gets_its_reason() -> anyhow::Result<()> {
    let _bench = bench!();
    let old = "echo 5.4.0-1 > /tmp/release && mount --bind /tmp/release /proc/sys/kernel/osrelease";
    let old = format!("mount -t tmpfs none /tmp && {old}");
    let locked = "mount -t tmpfs none /sys/kernel/security &&
        echo 'none integrity [confidentiality]' > /sys/kernel/security/lockdown";
    let without = |capability: &str| {
        format!("set -- setpriv --bounding-set -{capability} \"$0\" \"$@\"; set -- \"$@\"; exec \"$@\"")
    };
    for (wanted, ready, prepare, namespaces) in [
        ("no_btf", false, "mount -t tmpfs none /sys/kernel/btf", &[][..]),
        ("kernel_old", false, &old, &[]),
        ("lockdown", false, locked, &[]),
        ("pid_namespace", false, "", &["--pid", "--fork", "--mount-proc"]),
        ("privileges", false, &without("bpf,-sys_admin"), &[]),
        // Without it alone, running programs are traced.
        ("starts_not_held", true, &without("sys_admin"), &[]),
        ("programs_refused", false, &without("bpf,-perfmon,-sys_admin"), &[]),
    ] {
        let (found_ready, found) = machine(prepare, namespaces)?;
        ensure!(found.contains(wanted) && found_ready == ready, "{wanted}: {found:?}");
    }
    let (ready, found) = machine("", &[])?;
    ensure!(ready && found.is_empty(), "nothing is wrong: {found:?}");
    println!("7 of 7 reason codes of the machine");
    Ok(())
}

/// What passes the hooks while it looks; the host is nobody's that is known.
#[test]
fn traffic_is_counted_while_it_watches() -> anyhow::Result<()> {
    let bench = bench!();
    let mut client = Command::new("env");
    bench.own_libssl(&mut client)?;
    let script = bench.script("openai_sync.py", &["wait", "plain", "wait"])?;
    let mut client = Running::start(bench.equip(client.args(script)))?;
    client.wait_for_line("waiting")?;
    let pid = client.id();
    let mut doctor = Command::new(llmtap()?);
    doctor.args(["doctor", "--json", "--watch", "10s", "--pid", &pid.to_string()]);
    let doctor = Running::start(&mut doctor)?;
    wait_for_probes(pid)?;
    client.tell("go")?;
    let finished = doctor.finish()?;
    let report: Value = serde_json::from_str(&finished.stdout).with_context(|| finished.stderr)?;
    let rows = report["processes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = rows.iter().find(|row| row["reason"] == "ok").context("a hooked library")?;
    ensure!(row["recognised"] == "exported symbols", "{row}");
    ensure!(row["seen"]["connections"] == 1 && row["seen"]["to_model_hosts"] == 0, "{row}");
    ensure!(row["seen"]["bytes"].as_u64().is_some_and(|bytes| bytes > 500), "{row}");
    client.tell("go")?;
    ensure!(client.finish()?.status.success());
    Ok(())
}
