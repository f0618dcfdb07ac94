//! The types: a call's messages, their parts, and the walk over their texts.

use std::borrow::Cow;

use serde_json::Value as Json;

/// What one call says. A list that is empty was not on the wire, or not read.
#[derive(Clone, PartialEq, Default)]
pub struct Content {
    /// Instructions that the request states apart from its messages.
    pub system: Vec<Part>,
    /// In the order in which they were sent.
    pub input: Vec<Message>,
    /// One message a choice.
    pub output: Vec<Message>,
    pub tools: Vec<Tool>,
    /// The JSON Schema that the answer shall keep to. It is for who checks that, and not told.
    pub output_schema: Option<Json>,
}

#[derive(Clone, PartialEq, Default)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`, or the provider's own word for what is none of these.
    pub role: Cow<'static, str>,
    /// The participant's.
    pub name: Option<String>,
    pub parts: Vec<Part>,
    /// Of an output message, in the provider's own words; `None` where the wire does not state it.
    pub finish_reason: Option<String>,
}

/// A part of a message. What is binary is told by its size, never copied.
#[derive(Clone, PartialEq)]
pub enum Part {
    Text(String),
    Reasoning(String),
    ToolCall {
        id: Option<String>,
        name: String,
        arguments: Json,
    },
    ToolResponse {
        id: Option<String>,
        response: Json,
    },
    /// Data that stands in the body itself.
    Blob {
        modality: Cow<'static, str>,
        mime_type: Option<String>,
        /// Decoded size in bytes.
        bytes: u64,
    },
    /// What was uploaded before, by its id.
    File {
        modality: Cow<'static, str>,
        mime_type: Option<String>,
        id: String,
    },
    /// What lies elsewhere, without the query of its address, which can be a credential.
    Uri {
        modality: Cow<'static, str>,
        mime_type: Option<String>,
        uri: String,
    },
    /// A part of another kind: only its name is known.
    Other(String),
    /// What a cap left out here.
    LeftOut(LeftOut),
}

/// How much is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeftOut {
    /// Messages, parts or tools, by where it stands.
    pub items: u64,
    /// As they stood in the body, about.
    pub bytes: u64,
}

/// A tool that the request offers.
#[derive(Clone, PartialEq)]
pub enum Tool {
    Function {
        name: String,
        description: Option<String>,
        /// JSON Schema, as the request states it.
        parameters: Option<Json>,
    },
    /// One of the service's own, by its type and name.
    Other {
        kind: String,
        name: String,
    },
    LeftOut(LeftOut),
}

/// Where a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// Instructions of system or developer, apart from the messages or among them.
    System,
    /// What a user says.
    Prompt,
    /// What a tool told the model.
    ToolResult,
    /// What the model answered earlier, as the request repeats it.
    History,
    /// What the model answers.
    Answer,
    Reasoning,
    /// A string among the arguments of a tool call.
    ToolArguments,
    /// Descriptions of the tools that are offered.
    ToolDefinition,
}

impl Content {
    /// Nothing was read.
    pub fn is_empty(&self) -> bool {
        self.system.is_empty() && self.input.is_empty() && self.output.is_empty() && self.tools.is_empty()
    }

    /// Bytes of its texts, about.
    pub fn bytes(&self) -> usize {
        let messages = self.input.iter().chain(&self.output).flat_map(|message| &message.parts);
        let tools = self.tools.iter().map(Tool::bytes);
        self.system.iter().chain(messages).map(Part::bytes).sum::<usize>() + tools.sum::<usize>()
    }

    /// Shows each text by itself, as it was on the wire: for who examines texts and tells no more than what they found.
    pub fn texts(&self, see: &mut dyn FnMut(Place, &str)) {
        self.texts_from(0, see);
    }

    /// The same without what a request only repeats of its conversation: the messages up to the model's last answer. A
    /// beginning of an answer that stands last is none.
    pub fn news(&self, see: &mut dyn FnMut(Place, &str)) {
        let before = self.input.len().saturating_sub(1);
        let answered = self.input[..before].iter().rposition(|message| message.role == "assistant");
        self.texts_from(answered.map_or(0, |at| at + 1), see);
    }

    fn texts_from(&self, first: usize, see: &mut dyn FnMut(Place, &str)) {
        for part in &self.system {
            part.texts(Place::System, see);
        }
        for message in &self.input[first..] {
            let place = match &*message.role {
                "system" | "developer" => Place::System,
                "assistant" => Place::History,
                "tool" => Place::ToolResult,
                _ => Place::Prompt,
            };
            message.parts.iter().for_each(|part| part.texts(place, see));
        }
        for part in self.output.iter().flat_map(|message| &message.parts) {
            part.texts(Place::Answer, see);
        }
        for tool in &self.tools {
            if let Tool::Function { description: Some(description), .. } = tool {
                see(Place::ToolDefinition, description);
            }
        }
    }
}

impl Part {
    fn texts(&self, place: Place, see: &mut dyn FnMut(Place, &str)) {
        match self {
            Self::Text(text) => see(place, text),
            Self::Reasoning(text) => see(Place::Reasoning, text),
            Self::ToolCall { arguments, .. } => strings(arguments, &mut |text| see(Place::ToolArguments, text)),
            Self::ToolResponse { response, .. } => strings(response, &mut |text| see(Place::ToolResult, text)),
            Self::Blob { .. } | Self::File { .. } | Self::Uri { .. } | Self::Other(_) | Self::LeftOut(_) => {}
        }
    }
}

/// The strings of a value, in its order.
fn strings(value: &Json, see: &mut dyn FnMut(&str)) {
    match value {
        Json::String(text) => see(text),
        Json::Array(items) => items.iter().for_each(|item| strings(item, see)),
        Json::Object(members) => members.values().for_each(|member| strings(member, see)),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// All of it is payload: how much there is, is all that is shown.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { system, input, output, tools, output_schema: _ } = self;
        let [system, input, output, tools] = [system.len(), input.len(), output.len(), tools.len()];
        write!(f, "Content(system: {system}, input: {input}, output: {output}, tools: {tools})")
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({} parts)", self.parts.len())
    }
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text",
            Self::Reasoning(_) => "Reasoning",
            Self::ToolCall { .. } => "ToolCall",
            Self::ToolResponse { .. } => "ToolResponse",
            Self::Blob { .. } => "Blob",
            Self::File { .. } => "File",
            Self::Uri { .. } => "Uri",
            Self::Other(_) => "Other",
            Self::LeftOut(_) => "LeftOut",
        })
    }
}

impl std::fmt::Debug for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Function { .. } => "Function",
            Self::Other { .. } => "Other",
            Self::LeftOut(_) => "LeftOut",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn content() -> Content {
        let message = |role: &'static str, part| Message { role: role.into(), parts: vec![part], ..Message::default() };
        let call = Part::ToolCall { id: None, name: "t".into(), arguments: json!({"a": ["sick", 1, {"b": "sand"}]}) };
        let result = Part::ToolResponse { id: None, response: json!("result") };
        let tool = Tool::Function { name: "t".into(), description: Some("what it does".into()), parameters: None };
        Content {
            system: vec![Part::Text("be good".into())],
            input: vec![
                message("developer", Part::Text("or else".into())),
                message("user", Part::Text("ask".into())),
                message("assistant", call),
                message("user", result),
            ],
            output: vec![
                message("assistant", Part::Reasoning("hm".into())),
                message("assistant", Part::Text("so".into())),
            ],
            tools: vec![tool],
            ..Content::default()
        }
    }

    #[test]
    fn each_text_is_shown_with_its_place() {
        let mut seen = Vec::new();
        content().texts(&mut |place, text| seen.push((place, text.to_owned())));
        let expected = [
            (Place::System, "be good"),
            (Place::System, "or else"),
            (Place::Prompt, "ask"),
            (Place::ToolArguments, "sick"),
            (Place::ToolArguments, "sand"),
            (Place::ToolResult, "result"),
            (Place::Reasoning, "hm"),
            (Place::Answer, "so"),
            (Place::ToolDefinition, "what it does"),
        ];
        assert_eq!(seen, expected.map(|(place, text)| (place, text.to_owned())));
    }

    #[test]
    fn what_a_conversation_repeats_is_no_news() {
        let mut content = content();
        content.input.push(Message { role: "assistant".into(), ..Message::default() });
        let mut seen = Vec::new();
        content.news(&mut |_, text| seen.push(text.to_owned()));
        assert_eq!(seen, ["be good", "result", "hm", "so", "what it does"]);
    }

    #[test]
    fn its_debug_shows_no_text() {
        let content = content();
        let shown = format!("{content:?} {:?} {:?}", content.input, content.tools);
        for text in ["good", "ask", "sick", "result", "hm", "does"] {
            assert!(!shown.contains(text), "{text}");
        }
    }
}
