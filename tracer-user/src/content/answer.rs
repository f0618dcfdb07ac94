//! A streamed answer in the making: its pieces are put together in bounded memory.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::{
    Limits,
    json::parsed,
    message::{LeftOut, Message, Part},
    share::{Pool, Share},
};

/// Which part of a choice a piece belongs to, by the numbers that the stream gives: of an item, and of a part of it.
pub type Key = (u64, u64);

/// The key of pieces that nothing tells apart but their kind.
pub const ONLY: Key = (u64::MAX, 0);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Reasoning,
}

/// What an answer says: filled at once from a whole one, or piece by piece.
pub struct Answer {
    limits: Limits,
    share: Share,
    held: usize,
    choices: Vec<Choice>,
}

#[derive(Default)]
struct Choice {
    index: u64,
    role: Option<Cow<'static, str>>,
    parts: Vec<Growing>,
    left_out: LeftOut,
    /// Something is missing of which nobody knows how much.
    has_hole: bool,
}

struct Growing {
    key: Key,
    what: What,
    /// Bytes that had no place: then none of it is told.
    left_out: u64,
}

enum What {
    Text(Kind, String),
    Call { id: Option<String>, name: String, arguments: String },
    Whole(Part),
}

impl Answer {
    pub fn new(limits: Limits, pool: &Pool) -> Self {
        Self { limits, share: pool.share(), held: 0, choices: Vec::new() }
    }

    pub fn role(&mut self, choice: u64, role: Option<Cow<'static, str>>) {
        if let Some(choice) = self.choice(choice) {
            choice.role = role.or(choice.role.take());
        }
    }

    /// Text goes on.
    pub fn text(&mut self, choice: u64, key: Key, kind: Kind, piece: &str) {
        if piece.is_empty() {
            return;
        }
        let fits = |growing: &Growing| growing.key == key && matches!(&growing.what, What::Text(of, _) if *of == kind);
        // Without numbers, text of another kind in between begins a part anew.
        let is_last = key == ONLY;
        let taken = self.take(piece.len());
        let Some(growing) =
            self.part(choice, is_last, fits, || Growing { key, what: What::Text(kind, String::new()), left_out: 0 })
        else {
            return;
        };
        let refund = growing.add(piece, taken);
        self.give(refund);
    }

    /// What is stated of a tool call; what was stated before stays.
    pub fn call(&mut self, choice: u64, key: Key, id: Option<&str>, name: Option<&str>) {
        let fits = |growing: &Growing| growing.key == key && matches!(growing.what, What::Call { .. });
        let Some(growing) = self.part(choice, false, fits, || Growing {
            key,
            what: What::Call { id: None, name: String::new(), arguments: String::new() },
            left_out: 0,
        }) else {
            return;
        };
        if let What::Call { id: known, name: of, .. } = &mut growing.what {
            if let (None, Some(id)) = (&known, id.filter(|id| !id.is_empty())) {
                *known = Some(id.to_owned());
            }
            // Some services repeat the name with each piece, and some send it in pieces: the former are more.
            if let (true, Some(name)) = (of.is_empty(), name) {
                name.clone_into(of);
            }
        }
    }

    /// The arguments of a tool call go on.
    pub fn arguments(&mut self, choice: u64, key: Key, piece: &str) {
        self.call(choice, key, None, None);
        let taken = self.take(piece.len());
        let fits = |growing: &Growing| growing.key == key && matches!(growing.what, What::Call { .. });
        let Some(choice) = self.choice(choice) else { return };
        let Some(growing) = choice.parts.iter_mut().find(|growing| fits(growing)) else { return };
        let refund = growing.add(piece, taken);
        self.give(refund);
    }

    /// Adds a whole part.
    pub fn add(&mut self, choice: u64, key: Key, part: Part) {
        let bytes = part.bytes();
        if !self.take(bytes) {
            if let Some(choice) = self.choice(choice) {
                choice.leave_out(bytes);
            }
            return;
        }
        let most = self.limits.parts;
        let Some(choice) = self.choice(choice) else { return };
        if choice.parts.len() >= most {
            return choice.leave_out(bytes);
        }
        choice.parts.push(Growing { key, what: What::Whole(part), left_out: 0 });
    }

    /// An item is stated whole: its parts take the place of its pieces.
    pub fn replace(&mut self, choice: u64, item: u64, parts: Vec<Part>) {
        if parts.is_empty() {
            return;
        }
        let mut freed = 0;
        if let Some(choice) = self.choice(choice) {
            choice.parts.retain(|growing| {
                let is_other = growing.key.0 != item;
                freed += if is_other { 0 } else { growing.bytes() };
                is_other
            });
        }
        self.give(freed);
        for (index, part) in (0..).zip(parts) {
            self.add(choice, (item, index), part);
        }
        if let Some(choice) = self.choice(choice) {
            choice.parts.sort_by_key(|growing| growing.key);
        }
    }

    /// All that the choice says so far is stated again: it takes the place of its pieces.
    pub fn restate(&mut self, choice: u64, parts: Vec<Part>) {
        if parts.is_empty() {
            return;
        }
        self.begin_anew(choice);
        for (index, part) in (0..).zip(parts) {
            self.add(choice, (index, 0), part);
        }
    }

    /// Bytes of the stream are missing: what they said is.
    pub fn lost(&mut self) {
        if let Some(choice) = self.choice(0) {
            choice.has_hole = true;
        }
    }

    fn begin_anew(&mut self, choice: u64) {
        let freed = self.choice(choice).map_or(0, |choice| choice.parts.drain(..).map(|part| part.bytes()).sum());
        self.give(freed);
    }

    /// What comes next: all of it again, or its next piece.
    pub fn advance(&mut self, choice: u64, parts: Vec<Part>) {
        let goes_on = |growing: &Growing, part: &Part| match (&growing.what, part) {
            (What::Text(Kind::Text, before), Part::Text(now))
            | (What::Whole(Part::Text(before)), Part::Text(now))
            | (What::Text(Kind::Reasoning, before), Part::Reasoning(now))
            | (What::Whole(Part::Reasoning(before)), Part::Reasoning(now)) => now.starts_with(before.as_str()),
            _ => false,
        };
        let known = self.choice(choice).is_some_and(|choice| {
            choice.parts.iter().zip(&parts).any(|(growing, part)| goes_on(growing, part)) || choice.parts.is_empty()
        });
        if known {
            self.begin_anew(choice);
        }
        for part in parts {
            match part {
                Part::Text(text) => self.text(choice, ONLY, Kind::Text, &text),
                Part::Reasoning(text) => self.text(choice, ONLY, Kind::Reasoning, &text),
                part => self.add(choice, ONLY, part),
            }
        }
    }

    /// A choice is stated whole.
    pub fn message(&mut self, choice: u64, message: Message) {
        self.role(choice, Some(message.role));
        self.restate(choice, message.parts);
    }

    /// The messages, one a choice, with the reasons why the choices ended, in their order.
    pub fn messages(&mut self, finish_reasons: &[String]) -> Vec<Message> {
        self.choices.sort_by_key(|choice| choice.index);
        let choices = std::mem::take(&mut self.choices).into_iter().enumerate();
        choices.filter_map(|(index, choice)| choice.message(finish_reasons.get(index).cloned())).collect()
    }

    fn choice(&mut self, index: u64) -> Option<&mut Choice> {
        if let Some(at) = self.choices.iter().position(|choice| choice.index == index) {
            return self.choices.get_mut(at);
        }
        if self.choices.len() >= self.limits.parts {
            return None;
        }
        self.choices.push(Choice { index, ..Choice::default() });
        self.choices.last_mut()
    }

    fn part(
        &mut self,
        choice: u64,
        last_only: bool,
        fits: impl Fn(&Growing) -> bool,
        begin: impl FnOnce() -> Growing,
    ) -> Option<&mut Growing> {
        let most = self.limits.parts;
        let choice = self.choice(choice)?;
        let position = match last_only {
            true => choice.parts.len().checked_sub(1).filter(|last| fits(&choice.parts[*last])),
            // The latest is mostly the one.
            false => choice.parts.iter().rposition(fits),
        };
        if let Some(position) = position {
            return choice.parts.get_mut(position);
        }
        if choice.parts.len() >= most {
            choice.left_out.items += 1;
            return None;
        }
        choice.parts.push(begin());
        choice.parts.last_mut()
    }

    fn take(&mut self, bytes: usize) -> bool {
        let fits = self.held + bytes <= self.limits.answer_bytes && self.share.take(bytes);
        self.held += if fits { bytes } else { 0 };
        fits
    }

    fn give(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(bytes);
        self.share.give(bytes);
    }
}

impl Choice {
    fn leave_out(&mut self, bytes: usize) {
        self.left_out.items += 1;
        self.left_out.bytes += bytes as u64;
    }

    /// `None` when nothing is known of it.
    fn message(self, finish_reason: Option<String>) -> Option<Message> {
        let Self { role, parts, mut left_out, has_hole, .. } = self;
        left_out.items += u64::from(has_hole);
        let mut parts: Vec<_> = parts.into_iter().filter_map(Growing::part).collect();
        if left_out != LeftOut::default() {
            parts.push(Part::LeftOut(left_out));
        }
        if parts.is_empty() && finish_reason.is_none() {
            return None;
        }
        let role = role.unwrap_or(Cow::Borrowed("assistant"));
        Some(Message { role, name: None, parts, finish_reason })
    }
}

impl Growing {
    /// Adds a piece whose bytes were `taken`; returns how many to give back.
    fn add(&mut self, piece: &str, taken: bool) -> usize {
        let (What::Text(_, text) | What::Call { arguments: text, .. }) = &mut self.what else {
            return if taken { piece.len() } else { 0 };
        };
        if taken && self.left_out == 0 {
            text.push_str(piece);
            return 0;
        }
        // A part is told whole or not at all.
        let freed = std::mem::take(text).len();
        self.left_out += (freed + piece.len()) as u64;
        freed + if taken { piece.len() } else { 0 }
    }

    fn bytes(&self) -> usize {
        match &self.what {
            What::Text(_, text) => text.len(),
            What::Call { arguments, .. } => arguments.len(),
            What::Whole(part) => part.bytes(),
        }
    }

    fn part(self) -> Option<Part> {
        if self.left_out > 0 {
            return Some(Part::LeftOut(LeftOut { items: 1, bytes: self.left_out }));
        }
        Some(match self.what {
            What::Text(_, text) if text.is_empty() => return None,
            What::Text(Kind::Text, text) => Part::Text(text),
            What::Text(Kind::Reasoning, text) => Part::Reasoning(text),
            What::Call { id, name, arguments } => {
                let arguments = if arguments.is_empty() { Json::Null } else { parsed(&arguments) };
                Part::ToolCall { id, name, arguments }
            }
            What::Whole(part) => part,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(answer_bytes: usize) -> (Pool, Answer) {
        let pool = Pool::new(1 << 20);
        let answer = Answer::new(Limits { answer_bytes, parts: 4, ..Limits::default() }, &pool);
        (pool, answer)
    }

    #[test]
    fn pieces_come_together_by_choice_and_key() {
        let (_, mut answer) = answer(1000);
        answer.role(0, Some("assistant".into()));
        answer.text(0, ONLY, Kind::Reasoning, "h");
        answer.text(0, ONLY, Kind::Reasoning, "m");
        answer.text(0, ONLY, Kind::Text, "so");
        answer.call(0, (0, 0), Some("a"), Some("one"));
        answer.call(0, (1, 0), Some("b"), Some("two"));
        answer.arguments(0, (0, 0), "{\"x\":");
        answer.arguments(0, (1, 0), "not json");
        answer.arguments(0, (0, 0), "1}");
        answer.text(1, ONLY, Kind::Text, "other");
        let messages = answer.messages(&[]);
        let call =
            |id: &str, name: &str, arguments| Part::ToolCall { id: Some(id.into()), name: name.into(), arguments };
        let parts = [
            Part::Reasoning("hm".into()),
            Part::Text("so".into()),
            call("a", "one", serde_json::json!({"x": 1})),
            call("b", "two", serde_json::json!("not json")),
        ];
        assert!(messages[0].parts == parts && messages[1].parts == [Part::Text("other".into())]);
        answer.role(1, None);
        answer.text(2, ONLY, Kind::Text, "third");
        let reasons = ["content_filter".to_owned()];
        let messages = answer.messages(&reasons);
        let told: Vec<_> =
            messages.iter().map(|message| (message.parts.len(), message.finish_reason.as_deref())).collect();
        assert_eq!(told, [(0, Some("content_filter")), (1, None)], "a choice without a word has a reason");
    }

    #[test]
    fn what_has_no_place_is_left_out_whole_and_said() {
        let (pool, mut answer) = answer(20);
        for _ in 0..5 {
            answer.text(0, ONLY, Kind::Text, "123456");
        }
        answer.text(0, (1, 0), Kind::Text, "short");
        assert!(pool.held() <= 20);
        let messages = answer.messages(&[]);
        let gap = Part::LeftOut(LeftOut { items: 1, bytes: 30 });
        assert!(messages[0].parts == [gap, Part::Text("short".into())]);
        drop(answer);
        assert_eq!(pool.held(), 0);
    }

    #[test]
    fn parts_and_choices_are_bounded() {
        let (_, mut answer) = answer(1 << 20);
        for index in 0..10 {
            answer.text(0, (index, 0), Kind::Text, "a");
            answer.text(index, ONLY, Kind::Text, "b");
        }
        let messages = answer.messages(&[]);
        assert_eq!((messages.len(), messages[0].parts.len()), (4, 5));
        assert!(messages[0].parts[4] == Part::LeftOut(LeftOut { items: 7, bytes: 0 }));
    }

    #[test]
    fn a_whole_item_takes_the_place_of_its_pieces() {
        let (_, mut answer) = answer(100);
        answer.text(0, (0, 0), Kind::Text, "hal");
        answer.text(0, (1, 0), Kind::Text, "more");
        answer.replace(0, 0, vec![Part::Text("half".into())]);
        assert!(answer.messages(&[])[0].parts == [Part::Text("half".into()), Part::Text("more".into())]);
    }
}
