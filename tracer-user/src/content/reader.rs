//! Reads what one exchange says, beside the decoder of its dialect, as its bodies come.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::{Limits, answer::Answer, excerpt::Excerpt, forms::Form, message::Content, request, share::Pool};

pub struct Reader {
    limits: Limits,
    pool: Pool,
    request: Excerpt,
    response: Excerpt,
    event: Excerpt,
    /// One a form: several while the bodies are to tell which dialect they are of.
    answers: Vec<(&'static Form, Answer)>,
}

/// What InvokeModel puts around an event.
#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    bytes: Cow<'a, str>,
}

impl Reader {
    pub fn new(limits: Limits, pool: &Pool) -> Self {
        Self {
            limits,
            pool: pool.clone(),
            request: Excerpt::new(limits, pool),
            response: Excerpt::new(limits, pool),
            event: Excerpt::new(limits, pool),
            answers: Vec::new(),
        }
    }

    /// The next bytes of the request's body.
    pub fn request(&mut self, bytes: &[u8]) {
        self.request.push(bytes);
    }

    /// The next bytes of an answer that has no message framing.
    pub fn response(&mut self, bytes: &[u8]) {
        self.response.push(bytes);
    }

    /// One event of a stream, or with `whole` an answer that came in its framing.
    pub fn event(&mut self, forms: impl Iterator<Item = &'static Form>, data: &[u8], whole: bool) {
        for form in forms {
            let unpacked = form.wrapped.then(|| unpacked(data)).flatten();
            let Some(document) = self.event.document(unpacked.as_deref().unwrap_or(data)) else { continue };
            let read = if whole { form.whole } else { form.event };
            read(&document, self.answer(form));
        }
    }

    /// Bytes are missing here, of the request or of the response.
    pub fn lost(&mut self, request: bool) {
        match request {
            true => self.request.lost(),
            false => {
                self.response.lost();
                self.answers.iter_mut().for_each(|(_, answer)| answer.lost());
            }
        }
    }

    /// Some of it was not read for want of memory.
    pub fn is_starved(&self) -> bool {
        self.request.is_starved() || self.response.is_starved()
    }

    /// What was said. `finish_reasons` are those of the choices; an answer that `failed` says nothing but why.
    pub fn finish(mut self, form: &'static Form, finish_reasons: &[String], failed: bool) -> Option<Content> {
        let mut content = self.request.finish().map(|body| request::read(&body)).unwrap_or_default();
        if let Some(body) = self.response.finish().filter(|_| !failed) {
            (form.whole)(&body, self.answer(form));
        }
        content.output = self.answer(form).messages(finish_reasons);
        (!content.is_empty()).then_some(content)
    }

    fn answer(&mut self, form: &'static Form) -> &mut Answer {
        let known = self.answers.iter().position(|(of, _)| std::ptr::eq(*of, form));
        let index = known.unwrap_or_else(|| {
            self.answers.push((form, Answer::new(self.limits, &self.pool)));
            self.answers.len() - 1
        });
        &mut self.answers[index].1
    }
}

fn unpacked(data: &[u8]) -> Option<Vec<u8>> {
    let wrapped: Wrapped<'_> = serde_json::from_slice(data).ok()?;
    STANDARD.decode(wrapped.bytes.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{Part, forms::INVOKE};

    #[test]
    fn what_invoke_model_wraps_is_unpacked() {
        let mut reader = Reader::new(Limits::default(), &Pool::new(1 << 20));
        // Longer than a string that is taken for binary.
        let text = "word ".repeat(2000);
        let inner = serde_json::json!({"outputText": text}).to_string();
        let outer = serde_json::json!({"bytes": STANDARD.encode(inner), "p": "abc"}).to_string();
        reader.event(std::iter::once(&INVOKE), outer.as_bytes(), false);
        let content = reader.finish(&INVOKE, &["FINISH".to_owned()], false).unwrap();
        assert!(content.output[0].parts == [Part::Text(text)]);
        assert_eq!(content.output[0].finish_reason.as_deref(), Some("FINISH"));
    }
}
