//! What a release ships besides the program: manifests, the service, the package, the image.
//!
//! `cargo xtask test deploy` makes it all (`target/dist-out`), takes the network away and runs them. A test that lacks a
//! tool or a part says `skipped: why`.

mod files;
mod foreign;
mod node;
mod package;
mod systemd;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use serde_json::Value;
use tests::harness::workspace;

/// Where `cargo xtask dist` puts things.
fn released(name: &str) -> PathBuf {
    workspace().join("target/dist-out").join(name)
}

/// The objects of a rendered manifest; `None` where it was not made.
fn manifest(way: &str) -> anyhow::Result<Option<Vec<Value>>> {
    let name = format!("llmtap-{}-kubernetes{way}.yaml", env!("CARGO_PKG_VERSION"));
    let Ok(text) = fs::read_to_string(released(&name)) else {
        println!("skipped: no {name}: `cargo xtask dist manifests` makes it");
        return Ok(None);
    };
    let objects = text.split("\n---\n").map(|one| serde_saphyr::from_str(one).context(name.clone()));
    objects.collect::<Result<_, _>>().map(Some)
}

/// The one object of a kind and name.
fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> anyhow::Result<&'a Value> {
    let is_it = |one: &&Value| one["kind"] == kind && one["metadata"]["name"] == name;
    objects.iter().find(is_it).with_context(|| format!("no {kind} {name}"))
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn is_there(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", "command -v \"$0\" >/dev/null", program])
        .status()
        .is_ok_and(|status| status.success())
}

fn project(path: &str) -> PathBuf {
    workspace().join(path)
}

fn text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}
