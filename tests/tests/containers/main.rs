//! Real containers, with Debian's podman and runc: own mount, PID and cgroup namespaces, an overlay as root.
//!
//! `cargo xtask test containers` takes the network away and runs them. A machine without podman or runc skips them.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};
use tests::{
    harness::{Bench, finish, wait_for},
    tracer::{Daemon, Tracer},
    yard::{Yard, yard},
};

/// A line of a shell's.
fn quoted(line: &[String]) -> String {
    line.iter().map(|word| format!("'{word}' ")).collect()
}

#[test]
fn a_container_is_traced_from_its_first_call() -> anyhow::Result<()> {
    let Some(yard) = yard()? else { return Ok(()) };
    yard.bench.run_traced(&["-v"], &yard.container(&[], &["plain", "stream"])?)?;
    println!("{}", yard.bench.expect_exact(2)?);
    Ok(())
}

/// Their libraries are one inode, which both overlays show under numbers of their own.
#[test]
fn two_containers_that_share_a_layer_tell_each_call_once() -> anyhow::Result<()> {
    let Some(yard) = yard()? else { return Ok(()) };
    let one = quoted(&yard.container(&[], &["plain", "stream"])?);
    let both = format!("{one} & first=$!; {one} && wait $first");
    yard.bench.run_traced(&[], &["/bin/sh", "-c", &both].map(str::to_owned))?;
    println!("{}", yard.bench.expect_exact(4)?);
    Ok(())
}

/// The tracer stands before the container; its cgroup is below the one that was selected. The user in it is not root.
#[test]
fn containers_of_a_cgroup_are_traced_when_they_start_later() -> anyhow::Result<()> {
    let Some(yard) = yard()? else { return Ok(()) };
    let name = format!("llmtap-test-{}", std::process::id());
    let found = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(|place| Path::new(place).join(&name));
    let Some(cgroup) =
        found.into_iter().find(|path| fs::create_dir(path).is_ok() && path.join("cgroup.procs").exists())
    else {
        println!("skipped: no cgroup can be made");
        return Ok(());
    };
    let traced = in_cgroup(&yard, &name, &cgroup);
    // Podman makes them in every hierarchy, with others inside.
    let leave = "find /sys/fs/cgroup -depth -type d -path \"*/$0*\" -exec rmdir {} +";
    finish(Command::new("sh").args(["-c", leave, &name]))?;
    traced
}

fn in_cgroup(yard: &Yard, name: &str, cgroup: &Path) -> anyhow::Result<()> {
    let bench = &yard.bench;
    let tracer = Tracer::start(bench.tracer()?.arg("--cgroup").arg(cgroup))?;
    let parent = format!("--cgroup-parent=/{name}");
    let line = yard.container(&[&parent, "--user", "1234:1234"], &["plain"])?;
    for _ in 0..3 {
        let client = bench.run_untraced(&line)?;
        ensure!(client.status.success(), "{}", client.stderr);
    }
    tracer.stop()?;
    println!("{}", bench.expect_exact(3)?);
    Ok(())
}

/// An image of the yard's root. It goes with the test.
struct Image(String);

impl Image {
    fn import(yard: &Yard) -> anyhow::Result<Self> {
        let image = Self(format!("localhost/llmtap-test-{}/agent:1.2", std::process::id()));
        let import = "tar -C \"$1\" -c . | podman --log-level=error import - \"$2\"";
        let imported = finish(Command::new("sh").args(["-c", import, "sh"]).arg(&yard.root).arg(&image.0))?;
        ensure!(imported.status.success(), "no image: {}", imported.stderr);
        Ok(image)
    }

    fn digest(&self) -> anyhow::Result<String> {
        let inspect = finish(Command::new("podman").args(["image", "inspect", "--format", "{{.Digest}}", &self.0]))?;
        Ok(inspect.stdout.trim().to_owned())
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = finish(Command::new("podman").args(["rmi", "--force", &self.0]));
    }
}

/// What all spans say of one attribute of their resource.
fn told(bench: &Bench, name: &str) -> anyhow::Result<serde_json::Value> {
    let spans = bench.spans()?;
    let values: Vec<_> = spans.iter().map(|span| span.resource.get(name).cloned().unwrap_or_default()).collect();
    let first = values.first().cloned().context("no spans")?;
    ensure!(values.iter().all(|value| *value == first), "{name}: {values:?}");
    Ok(first)
}

/// Cgroups as the kubelet makes them; everything that is told stands in their path and in Podman's files.
#[test]
fn a_container_has_its_name_and_image() -> anyhow::Result<()> {
    const POD: &str = "4cad64d0-7a36-452a-8a08-bd3a694cdad5";
    let Some(yard) = yard()? else { return Ok(()) };
    let image = Image::import(&yard)?;
    let cgroup = format!("llmtap-test-pods-{}", std::process::id());
    let name = format!("llmtap-test-{}", std::process::id());
    let id_file = yard.bench.path("id");
    let options = [
        format!("--name={name}"),
        format!("--cidfile={}", id_file.display()),
        format!("--cgroup-parent=/{cgroup}/burstable/pod{POD}"),
    ];
    let line = yard.container_of(&[&image.0], &options.each_ref().map(String::as_str), &["plain", "stream"])?;
    let traced = yard.bench.run_traced(&["-v"], &line);
    let leave = "find /sys/fs/cgroup -depth -type d -path \"*/$0*\" -exec rmdir {} +";
    finish(Command::new("sh").args(["-c", leave, &cgroup]))?;
    traced?;
    println!("{}", yard.bench.expect_exact(2)?);

    let id = fs::read_to_string(id_file)?;
    for (attribute, expected) in [
        ("container.id", id.trim()),
        ("container.name", &name),
        ("container.runtime.name", "podman"),
        ("container.image.name", image.0.trim_end_matches(":1.2")),
        ("oci.manifest.digest", &image.digest()?),
        ("k8s.pod.uid", POD),
    ] {
        let value = told(&yard.bench, attribute)?;
        println!("{attribute}={value}");
        ensure!(value == expected, "{attribute} is {value}, not {expected}");
    }
    let tags = told(&yard.bench, "container.image.tags")?;
    ensure!(tags == serde_json::json!(["1.2"]), "{tags}");
    Ok(())
}

/// The daemon knows neither the container nor anything else that is in it before its first program starts.
#[test]
fn a_short_program_of_a_chosen_image_is_traced_from_its_first_call() -> anyhow::Result<()> {
    let Some(yard) = yard()? else { return Ok(()) };
    let bench = &yard.bench;
    let image = Image::import(&yard)?;
    let config = serde_json::json!({
        "select": { "include": [{ "container_image": image.0.replace("1.2", "*") }] },
        "exporters": { "jsonl": [{ "path": bench.path("spans.jsonl") }] }
    });
    let daemon = Daemon::start(bench, &config.to_string())?;
    // It calls some milliseconds after its start, with libraries that nobody has seen before.
    if !yard.root.join("bin/curl").exists() {
        println!("skipped: no curl");
        return Ok(());
    }
    let body = r#"{"model": "gpt-5", "messages": [{"role": "user", "content": "mock: {\"tokens\": 5} Hello."}]}"#;
    let authority = bench.path("ca.pem").display().to_string();
    let url = format!("{}/v1/chat/completions", bench.mock.url());
    let moment = ["/bin/curl", "--fail", "--silent", "--cacert", &authority, "--json", body, &url].map(str::to_owned);
    // An overlay of the same files without the image's name: not chosen.
    let bare = format!("{}:O", yard.root.display());
    let other = yard.container_with(&["--rootfs", &bare], &[], &moment)?;
    let chosen = yard.container_with(&[&image.0], &[], &moment)?;
    for (line, lives) in [(&other, 0), (&chosen, 1), (&chosen, 2), (&other, 2)] {
        let client = bench.run_untraced(line)?;
        ensure!(client.status.success(), "{}", client.stderr);
        let calls = || bench.spans().map_or(0, |spans| spans.iter().filter(|span| span.is_call()).count());
        wait_for("its call", || (calls() >= lives).then_some(()))?;
    }
    let stderr = daemon.stop()?.stderr;
    let spans = bench.spans()?;
    let calls: Vec<_> = spans.iter().filter(|span| span.is_call()).collect();
    ensure!(calls.len() == 2, "{} calls, not 2: {stderr}", calls.len());
    for call in calls {
        let named = call.resource.get("container.image.name").and_then(|name| name.as_str());
        ensure!(named.is_some_and(|name| image.0.starts_with(name)), "{:?}: {stderr}", call.resource);
        ensure!(call.text("llmtap.completeness") == Some("full"), "{:?}", call.attributes);
    }
    ensure!(bench.truth().len() == 4);
    Ok(())
}

/// A container that is made from a directory has no image, and what is outside of it has no container.
#[test]
fn what_is_not_known_of_a_container_is_not_told() -> anyhow::Result<()> {
    let Some(yard) = yard()? else { return Ok(()) };
    let name = format!("llmtap-test-bare-{}", std::process::id());
    let line = yard.container(&[&format!("--name={name}")], &["plain"])?;
    yard.bench.run_traced(&[], &line)?;
    ensure!(told(&yard.bench, "container.name")? == *name);
    for absent in ["container.image.name", "container.image.tags", "oci.manifest.digest", "k8s.pod.uid"] {
        ensure!(told(&yard.bench, absent)?.is_null(), "{absent}");
    }
    // Only one bench at a time.
    drop(yard);
    let outside = Bench::new()?;
    outside.run_traced(&[], &outside.script("openai_sync.py", &["plain"])?)?;
    ensure!(told(&outside, "container.id")?.is_null());
    Ok(())
}
