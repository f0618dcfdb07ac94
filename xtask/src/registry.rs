//! `docs/telemetry.md` from `docs/registry.yaml`: what a reader looks up, from what machines read.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::setup::root;

/// The parts of OpenTelemetry's form that the page needs.
#[derive(Debug, Deserialize)]
struct Registry {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    id: String,
    /// The group whose attributes it has, too.
    extends: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    brief: String,
    note: Option<String>,
    span_kind: Option<String>,
    /// Of an event.
    name: Option<String>,
    metric_name: Option<String>,
    instrument: Option<String>,
    unit: Option<String>,
    #[serde(default)]
    attributes: Vec<Attribute>,
}

#[derive(Debug, Deserialize)]
struct Attribute {
    /// Where it is defined.
    id: Option<String>,
    /// Where it is used.
    #[serde(rename = "ref")]
    reference: Option<String>,
    requirement_level: Option<String>,
    #[serde(rename = "type")]
    kind: Option<Type>,
    brief: Option<String>,
    annotations: Option<Annotations>,
}

#[derive(Debug, Deserialize)]
struct Annotations {
    llmtap: Own,
}

#[derive(Debug, Deserialize)]
struct Own {
    /// The name of release 1.41.1 that this one stands for with `semconv: next`.
    replaces: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Type {
    Plain(String),
    Enum { members: Vec<Member> },
}

#[derive(Debug, Deserialize)]
struct Member {
    value: String,
}

/// Writes the page.
pub fn run() -> Result<()> {
    let path = root().join("docs/telemetry.md");
    fs::write(&path, made()?).with_context(|| format!("cannot write {}", path.display()))
}

/// The page as the registry wants it.
fn made() -> Result<String> {
    let path = root().join("docs/registry.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let registry: Registry = serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?;
    let mut page = String::from(
        "# What llmtap emits\n\nMade from [registry.yaml](registry.yaml) by `cargo xtask registry`. Names without an \
         explanation here are those of the OpenTelemetry semantic conventions, release 1.41.1. What the wire does not \
         state is absent: never 0, never guessed.\n",
    );
    let of = |kind: &str| registry.groups.iter().filter(move |group| group.kind == kind).collect::<Vec<_>>();
    spans(&mut page, &of("span"))?;
    events(&mut page, &of("event"))?;
    metrics(&mut page, &of("metric"))?;
    shared(&mut page, &registry)?;
    resources(&mut page, &of("entity"))?;
    attributes(&mut page, &of("attribute_group"))?;
    renamed(&mut page, &of("attribute_group"))?;
    Ok(page)
}

fn spans(page: &mut String, groups: &[&Group]) -> Result<()> {
    page.push_str("\n## Spans\n\n| span | kind | attributes; in bold those that are always there |\n|---|---|---|\n");
    for group in groups {
        let kind = group.span_kind.as_deref().unwrap_or_default().to_uppercase();
        writeln!(page, "| {} | {kind} | {} |", described(group), references(group))?;
    }
    Ok(())
}

fn events(page: &mut String, groups: &[&Group]) -> Result<()> {
    page.push_str("\n## Events\n\n| event | attributes; in bold those that are always there |\n|---|---|\n");
    for group in groups {
        let name = group.name.as_deref().unwrap_or_default();
        writeln!(page, "| `{name}`: {} | {} |", described(group), references(group))?;
    }
    Ok(())
}

fn metrics(page: &mut String, groups: &[&Group]) -> Result<()> {
    page.push_str(
        "\n## Metrics\n\n| metric, and at `/metrics` | kind, unit | what | attributes |\n|---|---|---|---|\n",
    );
    for group in groups {
        let (name, instrument) = (group.metric_name.as_deref(), group.instrument.as_deref());
        let (name, instrument) = (name.unwrap_or_default(), instrument.unwrap_or_default());
        let unit = group.unit.as_deref().unwrap_or_default();
        let prometheus = prometheus_name(name, instrument, unit);
        let (what, attributes) = (described(group), references(group));
        writeln!(page, "| `{name}`<br>`{prometheus}` | {instrument}, `{unit}` | {what} | {attributes} |")?;
    }
    Ok(())
}

/// What several have in common, and which do.
fn shared(page: &mut String, registry: &Registry) -> Result<()> {
    for group in &registry.groups {
        let users = registry.groups.iter().filter(|other| other.extends.as_deref() == Some(&group.id));
        let users: Vec<String> = users.filter_map(|user| Some(format!("`{}`", user.metric_name.as_deref()?))).collect();
        if !users.is_empty() {
            let (attributes, users) = (references(group), users.join(", "));
            writeln!(page, "\n{} {attributes}. Metrics that can have them: {users}.", described(group))?;
        }
    }
    Ok(())
}

fn resources(page: &mut String, groups: &[&Group]) -> Result<()> {
    page.push_str("\n## Resources\n\n| resource | attributes |\n|---|---|\n");
    for group in groups {
        writeln!(page, "| {} | {} |", described(group), references(group))?;
    }
    Ok(())
}

fn attributes(page: &mut String, groups: &[&Group]) -> Result<()> {
    page.push_str("\n## Attributes that the conventions do not have\n\n| attribute | type | what |\n|---|---|---|\n");
    let mut rows = BTreeMap::new();
    for attribute in groups.iter().flat_map(|group| &group.attributes) {
        let Some(id) = &attribute.id else { continue };
        let kind = match &attribute.kind {
            Some(Type::Plain(kind)) => kind.clone(),
            Some(Type::Enum { members }) => {
                members.iter().map(|member| format!("`{}`", member.value)).collect::<Vec<_>>().join(", ")
            }
            None => String::new(),
        };
        rows.insert(id, format!("| `{id}` | {kind} | {} |", attribute.brief.as_deref().unwrap_or_default()));
    }
    for row in rows.values() {
        writeln!(page, "{row}")?;
    }
    Ok(())
}

fn renamed(page: &mut String, groups: &[&Group]) -> Result<()> {
    page.push_str(
        "\n## Names with `semconv: next`\n\nThe newer `semantic-conventions-genai` repository, as far as it was merged by \
         September 2026. All other names are the same.\n\n| 1.41 | next |\n|---|---|\n",
    );
    for attribute in groups.iter().flat_map(|group| &group.attributes) {
        let (Some(id), Some(Annotations { llmtap: Own { replaces } })) = (&attribute.id, &attribute.annotations) else {
            continue;
        };
        writeln!(page, "| `{replaces}` | `{id}` |")?;
    }
    Ok(())
}

fn described(group: &Group) -> String {
    let brief = group.brief.trim_end_matches('.');
    match &group.note {
        Some(note) => format!("{brief}. {note}"),
        None => format!("{brief}."),
    }
}

fn references(group: &Group) -> String {
    let name = |attribute: &Attribute| {
        let name = attribute.reference.as_deref()?;
        let always = attribute.requirement_level.as_deref() == Some("required");
        Some(if always { format!("**`{name}`**") } else { format!("`{name}`") })
    };
    group.attributes.iter().filter_map(name).collect::<Vec<_>>().join(", ")
}

/// OpenTelemetry's translation of a name for Prometheus.
fn prometheus_name(name: &str, instrument: &str, unit: &str) -> String {
    let unit = match unit {
        "s" => "_seconds",
        "By" => "_bytes",
        _ => "",
    };
    let end = if instrument == "counter" { "_total" } else { "" };
    format!("{}{unit}{end}", name.replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_as_the_registry_wants_it() {
        let page = fs::read_to_string(root().join("docs/telemetry.md")).expect("the page");
        assert!(page == made().expect("a page"), "docs/telemetry.md is behind: run `cargo xtask registry`");
    }
}
