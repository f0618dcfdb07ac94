//! Content as JSON texts in the form of the conventions, bounded, each text through a filter.
//!
//! What has no room is left out by whole parts: a half of a text could be the half of a secret that no redactor knows any
//! more. The answer goes first, then the instructions, the input from its end, and the tools. Where something is missing
//! stands a part, a message or a tool of type `llmtap.left_out` that says how much.

use std::borrow::Cow;

use serde_json::{Map, Value as Json, json};

use super::message::{Content, LeftOut, Message, Part, Tool};

/// What stands between a text and its telling: it gives the text back, or what may be told of it.
pub type Filter<'a> = &'a dyn for<'t> Fn(&'t str) -> Cow<'t, str>;

/// The type of what stands for what was left out.
pub const LEFT_OUT: &str = "llmtap.left_out";

/// Types that the conventions define.
const CONVENTIONAL: &[&str] = &["text", "reasoning", "tool_call", "tool_call_response", "blob", "file", "uri"];

/// What each part and message is charged beside its own text: a mark for what is missing before it.
const MARK_BYTES: usize = 96;

/// The attributes' values; absent is absent.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Rendered {
    pub system: Option<String>,
    pub input: Option<String>,
    pub output: Option<String>,
    pub tools: Option<String>,
    /// Roughly the bytes that are missing, by any cap.
    pub left_out_bytes: u64,
}

/// Payload.
impl std::fmt::Debug for Rendered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rendered(left out: {} bytes)", self.left_out_bytes)
    }
}

impl Content {
    /// Its texts in at most `most` bytes of JSON together.
    pub fn render(&self, most: usize, filter: Filter<'_>) -> Rendered {
        let mut room = Room { left: most, left_out_bytes: 0, filter };
        let output = room.messages(&self.output, true);
        let system: Vec<_> = self.system.iter().map(|part| room.part(part)).collect();
        let mut input: Vec<_> = self.input.iter().rev().map(|message| room.message(message, false)).collect();
        input.reverse();
        let tools: Vec<_> = self.tools.iter().map(|tool| room.tool(tool)).collect();
        let input = joined(input, |gap| message_of("llmtap", None, &mark(gap), None));
        Rendered {
            system: joined(system, mark),
            input,
            output,
            tools: joined(tools, |gap| {
                json!({"type": LEFT_OUT, "name": LEFT_OUT, "items": gap.items, "bytes": gap.bytes}).to_string()
            }),
            left_out_bytes: room.left_out_bytes,
        }
    }
}

/// What is told of one part, message or tool.
enum Slot {
    Kept(String),
    Gap(LeftOut),
}

struct Room<'a> {
    left: usize,
    left_out_bytes: u64,
    filter: Filter<'a>,
}

impl Room<'_> {
    fn messages(&mut self, messages: &[Message], output: bool) -> Option<String> {
        let slots = messages.iter().map(|message| self.message(message, output)).collect();
        joined(slots, |gap| message_of("llmtap", None, &mark(gap), output.then_some("unknown")))
    }

    fn message(&mut self, message: &Message, output: bool) -> Slot {
        // A message that the copy's cap left out already.
        if let [Part::LeftOut(gap)] = message.parts.as_slice()
            && !output
        {
            self.left_out_bytes += gap.bytes;
            return Slot::Gap(*gap);
        }
        if !self.take(0) {
            let bytes = message.bytes() as u64;
            self.left_out_bytes += bytes;
            return Slot::Gap(LeftOut { items: 1, bytes });
        }
        let slots: Vec<_> = message.parts.iter().map(|part| self.part(part)).collect();
        let gone = slots.iter().all(|slot| matches!(slot, Slot::Gap(_)));
        // An answer stands for a choice, even when nothing of it has room.
        if gone && !slots.is_empty() && !output {
            let bytes = slots.iter().map(|slot| if let Slot::Gap(gap) = slot { gap.bytes } else { 0 }).sum();
            return Slot::Gap(LeftOut { items: 1, bytes });
        }
        let parts = joined(slots, mark).unwrap_or_else(|| "[]".to_owned());
        let name = message.name.as_deref().map(self.filter);
        let reason = output.then(|| message.finish_reason.as_deref().map_or(Cow::Borrowed("unknown"), self.filter));
        let role = (self.filter)(&message.role);
        Slot::Kept(message_of(&role, name.as_deref(), &parts[1..parts.len() - 1], reason.as_deref()))
    }

    fn part(&mut self, part: &Part) -> Slot {
        if let Part::LeftOut(gap) = part {
            self.left_out_bytes += gap.bytes;
            return Slot::Gap(*gap);
        }
        self.slot(part.bytes(), |filter| part.filtered(filter))
    }

    fn tool(&mut self, tool: &Tool) -> Slot {
        match tool {
            Tool::LeftOut(gap) => {
                self.left_out_bytes += gap.bytes;
                Slot::Gap(*gap)
            }
            Tool::Other { kind, name } => {
                self.slot(kind.len() + name.len(), |filter| json!({"type": filter(kind), "name": filter(name)}))
            }
            Tool::Function { name, description, parameters } => {
                let schema = parameters.as_ref().map_or(0, weight);
                self.slot(name.len() + description.as_ref().map_or(0, String::len) + schema, |filter| {
                    let mut tool = Map::new();
                    tool.insert("type".to_owned(), "function".into());
                    tool.insert("name".to_owned(), filter(name).into());
                    if let Some(description) = description {
                        tool.insert("description".to_owned(), filter(description).into());
                    }
                    if let Some(parameters) = parameters {
                        tool.insert("parameters".to_owned(), filtered(parameters, filter));
                    }
                    Json::Object(tool)
                })
            }
        }
    }

    /// Keeps it if there is room. It is not even made when its texts alone have none.
    fn slot(&mut self, bytes: usize, make: impl FnOnce(Filter<'_>) -> Json) -> Slot {
        if bytes <= self.left {
            let text = make(self.filter).to_string();
            if self.take(text.len()) {
                return Slot::Kept(text);
            }
        }
        self.left_out_bytes += bytes as u64;
        Slot::Gap(LeftOut { items: 1, bytes: bytes as u64 })
    }

    fn take(&mut self, bytes: usize) -> bool {
        let needed = bytes + MARK_BYTES;
        let fits = needed <= self.left;
        self.left -= if fits { needed } else { 0 };
        fits
    }
}

/// A list, neighbouring gaps in one. `None` when there is nothing.
fn joined(slots: Vec<Slot>, gap: impl Fn(LeftOut) -> String) -> Option<String> {
    let mut texts: Vec<String> = Vec::with_capacity(slots.len());
    let mut missing = LeftOut::default();
    for slot in slots {
        match slot {
            Slot::Gap(more) => {
                missing.items += more.items;
                missing.bytes += more.bytes;
            }
            Slot::Kept(text) => {
                if missing != LeftOut::default() {
                    texts.push(gap(std::mem::take(&mut missing)));
                }
                texts.push(text);
            }
        }
    }
    if missing != LeftOut::default() {
        texts.push(gap(missing));
    }
    (!texts.is_empty()).then(|| format!("[{}]", texts.join(",")))
}

fn mark(gap: LeftOut) -> String {
    Part::LeftOut(gap).json().to_string()
}

fn message_of(role: &str, name: Option<&str>, parts: &str, finish_reason: Option<&str>) -> String {
    let mut text = format!("{{\"role\":{}", Json::from(role));
    if let Some(name) = name {
        text += &format!(",\"name\":{}", Json::from(name));
    }
    text += &format!(",\"parts\":[{parts}]");
    if let Some(reason) = finish_reason {
        text += &format!(",\"finish_reason\":{}", Json::from(reason));
    }
    text + "}"
}

impl Tool {
    /// Bytes of its texts.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Function { name, description, parameters } => {
                name.len() + description.as_ref().map_or(0, String::len) + parameters.as_ref().map_or(0, weight)
            }
            Self::Other { kind, name } => kind.len() + name.len(),
            Self::LeftOut(_) => 0,
        }
    }
}

impl Message {
    fn bytes(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum()
    }
}

impl Part {
    /// Bytes of its texts.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) | Self::Reasoning(text) | Self::Other(text) => text.len(),
            Self::ToolCall { name, arguments, .. } => name.len() + weight(arguments),
            Self::ToolResponse { response, .. } => weight(response),
            Self::Uri { uri: text, .. } | Self::File { id: text, .. } => text.len(),
            Self::Blob { .. } | Self::LeftOut(_) => 0,
        }
    }

    /// The conventions' form of it.
    pub(super) fn json(&self) -> Json {
        self.filtered(&|text| Cow::Borrowed(text))
    }

    fn filtered(&self, filter: Filter<'_>) -> Json {
        let with = |mut part: Json, optional: &[(&str, Option<Json>)]| {
            for (name, value) in optional {
                if let (Some(value), Some(members)) = (value, part.as_object_mut()) {
                    members.insert((*name).to_owned(), value.clone());
                }
            }
            part
        };
        let text = |text: &Option<String>| text.as_deref().map(|text| Json::from(filter(text)));
        match self {
            Self::Text(content) => json!({"type": "text", "content": filter(content)}),
            Self::Reasoning(content) => json!({"type": "reasoning", "content": filter(content)}),
            Self::ToolCall { id, name, arguments } => with(
                json!({"type": "tool_call", "name": filter(name)}),
                &[("id", text(id)), ("arguments", Some(filtered(arguments, filter)).filter(|json| !json.is_null()))],
            ),
            Self::ToolResponse { id, response } => {
                with(json!({"type": "tool_call_response", "response": filtered(response, filter)}), &[("id", text(id))])
            }
            // The conventions demand a content; what is binary is not copied.
            Self::Blob { modality, mime_type, bytes } => with(
                json!({"type": "blob", "modality": filter(modality), "content": "", "bytes": bytes}),
                &[("mime_type", text(mime_type))],
            ),
            Self::File { modality, mime_type, id } => with(
                json!({"type": "file", "modality": filter(modality), "file_id": filter(id)}),
                &[("mime_type", text(mime_type))],
            ),
            Self::Uri { modality, mime_type, uri } => with(
                json!({"type": "uri", "modality": filter(modality), "uri": filter(uri)}),
                &[("mime_type", text(mime_type))],
            ),
            // What goes by a name of the conventions would have to have their members.
            Self::Other(kind) if CONVENTIONAL.contains(&kind.as_str()) => json!({"type": "unknown"}),
            Self::Other(kind) => json!({"type": filter(kind)}),
            Self::LeftOut(gap) => json!({"type": LEFT_OUT, "items": gap.items, "bytes": gap.bytes}),
        }
    }
}

/// The value with each of its texts, names of members too, through the filter.
fn filtered(value: &Json, filter: Filter<'_>) -> Json {
    match value {
        Json::String(text) => filter(text).into(),
        Json::Array(items) => items.iter().map(|item| filtered(item, filter)).collect(),
        Json::Object(members) => {
            let named = |name: &str, member: &Json| match member {
                // A password is known by its name.
                Json::String(text) => match filter(&format!("{name}={text}")) {
                    Cow::Borrowed(_) => filter(text).into(),
                    Cow::Owned(told) => {
                        told.strip_prefix(name).and_then(|told| told.strip_prefix('=')).unwrap_or(&told).into()
                    }
                },
                member => filtered(member, filter),
            };
            members.iter().map(|(name, member)| (filter(name).into_owned(), named(name, member))).collect()
        }
        // That of a card, for instance.
        Json::Number(number) => match filter(&number.to_string()) {
            Cow::Owned(told) => told.into(),
            Cow::Borrowed(_) => value.clone(),
        },
        other => other.clone(),
    }
}

/// Bytes of a value's texts, about.
fn weight(value: &Json) -> usize {
    match value {
        Json::String(text) => text.len(),
        Json::Array(items) => items.iter().map(|item| weight(item) + 1).sum(),
        Json::Object(members) => members.iter().map(|(name, member)| name.len() + weight(member) + 4).sum(),
        _ => 4,
    }
}

#[cfg(test)]
mod tests;
