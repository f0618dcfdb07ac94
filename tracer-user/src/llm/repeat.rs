//! Recognises an event that equals the one before but for text that nobody reads.
//!
//! Nearly all events of a stream are of one form: `{…,"delta":{"content":"` some text `"},…}`. When an event was read in
//! full, carried content and told nothing new, all that a later event with the same bytes around the same kind of text
//! can tell is the same again. Comparing is several times cheaper than reading, and exact: a single other byte outside
//! of those texts, or an empty text where there was one, and the event is read in full.

use super::{
    decode::Seen,
    json::{Passed, Passing, container_length, number_length, string_length},
};

/// Longest event that is remembered.
const EVENT_BYTES: usize = 4 << 10;
/// Events of this many forms are remembered: two choices, or two tool calls, may take turns.
const FORMS: usize = 2;
/// Longest number that is handed over again.
const NUMBER_BYTES: usize = 64;

pub struct Repeat<F> {
    forms: [Form<F>; FORMS],
    /// The form of the last event: that of the next one, most likely.
    latest: usize,
    /// Numbers of the event that matched last, to be handed over again: their fields, and where they stand.
    told: Vec<(F, usize, usize)>,
}

impl<F> Default for Repeat<F> {
    fn default() -> Self {
        Self { forms: Default::default(), latest: 0, told: Vec::new() }
    }
}

struct Form<F> {
    name: Vec<u8>,
    /// Bytes of the remembered event without what may differ: that is not kept.
    fixed: Vec<u8>,
    free: Vec<Free<F>>,
    seen: Option<Seen>,
}

impl<F> Default for Form<F> {
    fn default() -> Self {
        Self { name: Vec::new(), fixed: Vec::new(), free: Vec::new(), seen: None }
    }
}

/// A piece of an event that may differ.
#[derive(Clone, Copy)]
struct Free<F> {
    /// It stands after this many bytes of `fixed`.
    after: u32,
    kind: Kind<F>,
}

#[derive(Clone, Copy)]
enum Kind<F> {
    Text,
    /// A text that has to be empty, or has to be not, as it was.
    ToldText {
        empty: bool,
    },
    Number,
    /// A number that is told.
    Told(F),
    Container,
}

impl<F: Copy> Repeat<F> {
    /// Remembers an event by the values in it that may differ.
    pub fn learn(&mut self, name: &[u8], event: &[u8], passed: Option<&[Passed<F>]>, seen: Seen) {
        let Some(passed) = passed.filter(|_| event.len() <= EVENT_BYTES) else { return };
        self.latest = (self.latest + 1) % FORMS;
        self.forms[self.latest].learn(name, event, passed, seen);
    }

    /// What the event is, if it equals a remembered one. The numbers that it tells are [`Repeat::told`].
    pub fn matches(&mut self, name: &[u8], event: &[u8]) -> Option<Seen> {
        for at in (self.latest..self.latest + FORMS).map(|at| at % FORMS) {
            if let Some(seen) = self.forms[at].matches(name, event, &mut self.told) {
                self.latest = at;
                return Some(seen);
            }
        }
        None
    }

    /// Numbers of the event that matched last, by their fields and their places in it.
    pub fn told(&self) -> &[(F, usize, usize)] {
        &self.told
    }
}

impl<F: Copy> Form<F> {
    fn learn(&mut self, name: &[u8], event: &[u8], passed: &[Passed<F>], seen: Seen) {
        self.seen = None;
        self.fixed.clear();
        self.free.clear();
        let mut at = 0;
        for passed in passed {
            let Some(fixed) = event.get(at..passed.start as usize) else { return };
            self.fixed.extend_from_slice(fixed);
            let kind = match passed.what {
                Passing::Text { told: true } => Kind::ToldText { empty: passed.start == passed.end },
                Passing::Text { told: false } => Kind::Text,
                Passing::Number => Kind::Number,
                Passing::Told(field) => Kind::Told(field),
                Passing::Container => Kind::Container,
            };
            self.free.push(Free { after: self.fixed.len() as u32, kind });
            at = passed.end as usize;
        }
        self.fixed.extend_from_slice(event[at..].trim_ascii_end());
        self.name.clear();
        self.name.extend_from_slice(name);
        self.seen = Some(seen);
    }

    fn matches(&self, name: &[u8], event: &[u8], told: &mut Vec<(F, usize, usize)>) -> Option<Seen> {
        told.clear();
        let seen = self.seen?;
        // Names are mostly empty: nothing is called to compare them then.
        if name.len() != self.name.len() || (!name.is_empty() && name != self.name) {
            return None;
        }
        let (mut rest, mut done) = (event, 0);
        for free in &self.free {
            rest = rest.strip_prefix(&self.fixed[done..free.after as usize])?;
            done = free.after as usize;
            let length = match free.kind {
                Kind::Number => number_length(rest)?,
                Kind::Told(field) => {
                    let plain = matches!(rest, [b'-' | b'0'..=b'9', ..]);
                    let length = number_length(rest).filter(|length| plain && *length <= NUMBER_BYTES)?;
                    let start = event.len() - rest.len();
                    told.push((field, start, start + length));
                    length
                }
                Kind::Text => string_length(rest)?,
                Kind::ToldText { empty } => string_length(rest).filter(|length| (*length == 0) == empty)?,
                Kind::Container => container_length(rest).filter(|_| matches!(rest, [b'{' | b'[', ..]))?,
            };
            rest = &rest[length..];
        }
        let rest = rest.strip_prefix(&self.fixed[done..])?;
        rest.iter().all(u8::is_ascii_whitespace).then_some(seen)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{call::LlmCall, decode::Seen, tests::drive::Exchange};
    use super::*;

    const NEWS: Seen = Seen { data: true, content: true, end: false, news: false };

    /// Learns `event` with the texts between `<` and `>` (the marks are not part of it).
    fn learned(name: &str, event: &str) -> Repeat<()> {
        let (mut bytes, mut texts, mut start) = (Vec::new(), Vec::new(), 0);
        for byte in event.bytes() {
            match byte {
                b'<' => start = bytes.len() as u32,
                b'>' => {
                    let end = bytes.len() as u32;
                    let what = match bytes[start as usize] {
                        b'0'..=b'9' => Passing::Number,
                        _ => Passing::Text { told: texts.is_empty() },
                    };
                    texts.push(Passed { start, end, what });
                }
                _ => bytes.push(byte),
            }
        }
        let mut repeat = Repeat::default();
        repeat.learn(name.as_bytes(), &bytes, Some(&texts), NEWS);
        repeat
    }

    #[test]
    fn only_other_text_matches() {
        let mut repeat = learned("delta", r#"{"t":"<Yes>","p":"<abc>","o":<7>,"n":1}"#);
        let mut matches = |name: &str, event: &str| repeat.matches(name.as_bytes(), event.as_bytes()).is_some();
        assert!(matches("delta", r#"{"t":"No, \"never\"\\","p":"x","o":8.5e-1,"n":1}"#));
        assert!(matches("delta", r#"{"t":"Yes","p":"","o":7,"n":1}   "#));
        assert!(!matches("other", r#"{"t":"Yes","p":"abc","o":7,"n":1}"#));
        assert!(!matches("delta", r#"{"t":"","p":"abc","o":7,"n":1}"#));
        assert!(!matches("delta", r#"{"t":"Yes","p":"abc","o":null,"n":1}"#));
        assert!(!matches("delta", r#"{"t":"Yes","p":"abc","o":,"n":1}"#));
        assert!(!matches("delta", r#"{"t":"Yes","p":"abc","o":7,"n":2}"#));
        assert!(!matches("delta", r#"{"t":"Yes","p":"abc","o":7,"n":1,"m":2}"#));
        assert!(!matches("delta", r#"{"t":"Yes","p":"abc","o":7,"n":1"#));
        assert!(!matches("delta", r#"{"t":"Yes","p":"abc","o":7"#));
        assert!(!matches("delta", r#"{"t":"Yes\"#));
        assert!(!matches("delta", ""));
    }

    #[test]
    fn numbers_are_told_again_and_containers_may_differ() {
        let event = br#"{"tokens":[6],"n":1,"text":"a"}"#;
        let passed = [
            Passed { start: 10, end: 13, what: Passing::Container },
            Passed { start: 18, end: 19, what: Passing::Told('n') },
            Passed { start: 28, end: 29, what: Passing::Text { told: true } },
        ];
        let mut repeat = Repeat::default();
        repeat.learn(b"", event, Some(&passed), NEWS);
        let mut told = |event: &str| {
            let seen = repeat.matches(b"", event.as_bytes());
            seen.map(|_| {
                repeat.told().iter().map(|(field, start, end)| (*field, event[*start..*end].to_owned())).collect()
            })
        };
        let number = |number: &str| Some(vec![('n', number.to_owned())]);
        assert_eq!(told(r#"{"tokens":[7,[8,"]"]],"n":23,"text":"b"}"#), number("23"));
        assert_eq!(told(r#"{"tokens":{},"n":-4.5,"text":"b"}"#), number("-4.5"));
        for other in
            [r#"6,"n":1"#, r#"[6,"n":1"#, r#"[6]],"n":1"#, r#"[6],"n":"1""#, r#"[6],"n":null"#, r#"[6],"n":.5"#]
        {
            assert_eq!(told(&format!(r#"{{"tokens":{other},"text":"b"}}"#)), None::<Vec<(char, String)>>, "{other}");
        }
    }

    #[test]
    fn text_is_not_kept() {
        let repeat = learned("", r#"{"t":"<secret>"}"#);
        assert_eq!(repeat.forms[repeat.latest].fixed, br#"{"t":""}"#);
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![Just(String::new()), "[ -~é\n]{1,8}".prop_map(|text| text)]
    }

    /// Events of a chat stream that differ in little, so that many are recognised and many just not.
    fn chat_event() -> impl Strategy<Value = String> {
        let quoted = |text: String| serde_json::to_string(&text).unwrap();
        let delta = (text().prop_map(quoted), 0..2_u8, 0..8_u8).prop_map(|(text, index, kind)| match kind {
            0..4 => format!(r#"{{"index":{index},"delta":{{"content":{text}}},"finish_reason":null}}"#),
            4 => format!(r#"{{"index":{index},"delta":{{"reasoning_content":{text}}},"finish_reason":null}}"#),
            5 => format!(r#"{{"delta":{{"content":{text}}},"finish_reason":{text},"index":{index}}}"#),
            6 => format!(r#"{{"index":0,"delta":{{"tool_calls":[{{"index":{index},"id":{text},"function":{{"name":{text}}}}}]}}}}"#),
            _ => format!(r#"{{"index":0,"delta":{{"tool_calls":[{{"index":{index},"function":{{"arguments":{text}}}}}]}}}}"#),
        });
        let usage = prop_oneof![
            3 => Just("null".to_owned()),
            2 => (0..9_u8).prop_map(|tokens| format!(r#"{{"prompt_tokens":{tokens},"completion_tokens":{tokens}}}"#)),
        ];
        (delta, usage, text().prop_map(quoted), prop_oneof![9 => Just(""), 1 => Just("c2")]).prop_map(
            |(delta, usage, padding, id)| {
                format!(r#"{{"id":"{id}","model":"m","choices":[{delta}],"usage":{usage},"obfuscation":{padding}}}"#)
            },
        )
    }

    fn messages_event() -> impl Strategy<Value = String> {
        let quoted = |text: String| serde_json::to_string(&text).unwrap();
        (text().prop_map(quoted), 0..2_u8, 0..9_u8).prop_map(|(text, index, kind)| {
            let delta = |delta: &str| format!(r#"{{"type":"content_block_delta","index":{index},"delta":{{{delta}}}}}"#);
            match kind {
                0..3 => delta(&format!(r#""type":"text_delta","text":{text}"#)),
                3 => delta(&format!(r#""type":"thinking_delta","thinking":{text}"#)),
                4 => delta(&format!(r#""type":"signature_delta","signature":{text}"#)),
                5 => delta(&format!(r#""type":"input_json_delta","partial_json":{text}"#)),
                6 => format!(r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"tool_use","id":{text},"name":{text}}}}}"#),
                7 => format!(r#"{{"type":"message_delta","delta":{{"stop_reason":{text}}},"usage":{{"output_tokens":{index}}}}}"#),
                _ => r#"{"type":"ping"}"#.to_owned(),
            }
        })
    }

    /// The same stream twice: once as it is, once with other white space before each event, so that none is recognised.
    fn both(path: &str, events: &[String]) -> [LlmCall; 2] {
        [0, 1].map(|spaces| {
            let exchange = Exchange::post("api.example", path).with_headers(&[("anthropic-version", "1")]);
            let exchange = exchange.request(r#"{"model":"m","messages":[]}"#).response(200, &[]);
            let events = events.iter().enumerate();
            let stream = events.fold(exchange, |exchange, (index, event)| {
                exchange.sse("", &format!("{}{event}", " ".repeat(index * spaces)))
            });
            stream.complete().unwrap()
        })
    }

    proptest! {
        #[test]
        fn streams_of_chat_completions_tell_the_same(events in prop::collection::vec(chat_event(), 0..40)) {
            let [with, without] = both("/v1/chat/completions", &events);
            prop_assert_eq!(with, without);
        }

        #[test]
        fn streams_of_messages_tell_the_same(events in prop::collection::vec(messages_event(), 0..40)) {
            let [with, without] = both("/v1/messages", &events);
            prop_assert_eq!(with, without);
        }
    }
}
