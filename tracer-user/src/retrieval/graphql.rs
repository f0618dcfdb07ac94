//! What a GraphQL query of Weaviate's asks: `{ Get { Class(nearVector: {…}, limit: 3) { … } } }`. A lexer and a walk
//! over it; texts in it pass by.

/// Longest name or number that is compared or kept.
const WORD_BYTES: usize = 256;

#[derive(Debug, Default)]
pub struct Graphql {
    state: State,
    /// The word that is being read.
    word: Vec<u8>,
    /// Open braces.
    depth: u32,
    /// Braces and brackets open within the arguments; `None` outside of them.
    arguments: Option<u32>,
    /// Depth at which `Get` opened its brace.
    get: Option<u32>,
    last: Last,
    /// The class that is asked for.
    pub class: Option<String>,
    pub limit: Option<u64>,
    /// The search is by vectors, alone or with words.
    pub by_vector: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Plain,
    Text {
        escaped: bool,
    },
    Comment,
}

/// The name before the current place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Last {
    #[default]
    Other,
    Get,
    Limit,
}

impl Graphql {
    /// The next piece of the query's text.
    pub fn push(&mut self, piece: &[u8]) {
        for byte in piece {
            self.byte(*byte);
        }
    }

    fn byte(&mut self, byte: u8) {
        match self.state {
            State::Text { escaped: true } => self.state = State::Text { escaped: false },
            State::Text { .. } => match byte {
                b'\\' => self.state = State::Text { escaped: true },
                b'"' => self.state = State::Plain,
                _ => {}
            },
            State::Comment if matches!(byte, b'\n' | b'\r') => self.state = State::Plain,
            State::Comment => {}
            State::Plain if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') => {
                if self.word.len() <= WORD_BYTES {
                    self.word.push(byte);
                }
            }
            State::Plain => {
                self.end_word();
                self.mark(byte);
            }
        }
    }

    fn mark(&mut self, byte: u8) {
        match (byte, &mut self.arguments) {
            (b'"', _) => self.state = State::Text { escaped: false },
            (b'#', _) => self.state = State::Comment,
            (b'{' | b'[', Some(inner)) => *inner = inner.saturating_add(1),
            (b'}' | b']', Some(inner)) => *inner = inner.saturating_sub(1),
            (b')', Some(_)) => self.arguments = None,
            (b'(', None) => self.arguments = Some(0),
            (b'{', None) => {
                self.depth = self.depth.saturating_add(1);
                if self.last == Last::Get && self.get.is_none() {
                    self.get = Some(self.depth);
                }
                self.last = Last::Other;
            }
            (b'}', None) => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn end_word(&mut self) {
        if self.word.is_empty() {
            return;
        }
        let at_class = self.get.is_some_and(|get| get == self.depth);
        let last = std::mem::take(&mut self.last);
        match self.arguments {
            None if self.depth == 1 && self.word == b"Get" => self.last = Last::Get,
            None if at_class && self.class.is_none() && self.word.len() <= WORD_BYTES => {
                self.class = String::from_utf8(self.word.clone()).ok();
            }
            Some(0) if at_class => match &*self.word {
                b"nearVector" | b"nearText" | b"nearObject" | b"nearImage" | b"nearAudio" | b"nearVideo"
                | b"hybrid" => {
                    self.by_vector = true;
                }
                b"limit" => self.last = Last::Limit,
                number if last == Last::Limit && self.limit.is_none() => {
                    self.limit = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
                }
                _ => {}
            },
            _ => {}
        }
        self.word.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> (Option<String>, Option<u64>, bool) {
        let mut whole = Graphql::default();
        whole.push(query.as_bytes());
        let mut cut = Graphql::default();
        query.as_bytes().chunks(1).for_each(|piece| cut.push(piece));
        assert_eq!((&whole.class, whole.limit, whole.by_vector), (&cut.class, cut.limit, cut.by_vector));
        (whole.class, whole.limit, whole.by_vector)
    }

    #[test]
    fn finds_the_class_and_what_it_is_searched_by() {
        let class = |class: &str, limit| (Some(class.to_owned()), limit, true);
        assert_eq!(read("{Get{River(limit: 3, nearVector: {vector: [0.1, -2]}) {name}}}"), class("River", Some(3)));
        assert_eq!(
            read("query { Get { River (nearText:{concepts:[\"a } ) {Get\"]}) { name } } }"),
            class("River", None)
        );
        assert_eq!(
            read("{ Get # Aggregate\n { River(hybrid:{query:\"a \\\" (limit: 9)\"} limit:2){x} } }"),
            class("River", Some(2))
        );
    }

    #[test]
    fn other_queries_are_no_search_by_vectors() {
        assert!(!read("{Get{River(limit: 3) {nearVector}}}").2);
        assert!(!read("{Aggregate{River(nearVector: {vector: [1]}) {meta{count}}}}").2);
        assert!(!read("{Get{River(where: {path: [\"a\"], operator: Equal, nearVector: 3}) {name}}}").2);
        assert_eq!(read("not a query"), (None, None, false));
    }
}
