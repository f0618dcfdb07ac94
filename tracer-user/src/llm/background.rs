//! Responses in the background (`background: true`): the POST answers before the model does, and what the response
//! cost is told to whoever retrieves it later.
//!
//! The POST is the call, and its times are its own. It is held back until a GET of the same response, by whichever
//! connection or process, shows that the response has ended; what that states is then added. GETs are no calls. What
//! nobody retrieves is told as the POST left it.
//!
//! - <https://platform.openai.com/docs/guides/background>

use std::collections::VecDeque;

use super::EndedCall;

/// How long a call waits for its end, in nanoseconds: the longest responses take tens of minutes, and providers keep
/// what is not stored for ten minutes after them.
const PATIENCE: u64 = 2 * 60 * 60 * 1_000_000_000;

/// What the contents of all calls that wait may hold together; a call beyond it waits without.
const CONTENT_BYTES: usize = 32 << 20;

/// Calls whose responses have not ended, in the order of their POSTs' ends.
#[derive(Default)]
pub struct Background {
    held: VecDeque<EndedCall>,
}

impl Background {
    /// Holds a call back if its response goes on without it; gives it back otherwise. The oldest leaves when there are
    /// more than `most`.
    pub fn hold(&mut self, call: EndedCall, most: usize, calls: &mut Vec<EndedCall>) {
        let ended = !call.response.finish_reasons.is_empty() || call.error.is_some();
        if !call.request.background || ended || call.response.id.is_none() || most == 0 {
            return calls.push(call);
        }
        if self.held.len() >= most {
            calls.extend(self.held.pop_front());
        }
        let mut call = call;
        let held = self.held.iter().filter_map(|call| call.content.as_ref()).map(|content| content.bytes());
        if held.sum::<usize>() + call.content.as_ref().map_or(0, |content| content.bytes()) > CONTENT_BYTES {
            call.content = None;
        }
        self.held.push_back(call);
    }

    /// Whether the response `id` of `host` is waited for.
    pub fn awaits(&self, host: Option<&str>, id: &str) -> bool {
        self.position(host, id).is_some()
    }

    /// A GET of a response that is waited for was answered. `answer` is what it would be as a call.
    pub fn retrieved(&mut self, answer: EndedCall, calls: &mut Vec<EndedCall>) {
        if answer.response.finish_reasons.is_empty() {
            return;
        }
        let position = answer.response.id.as_deref().and_then(|id| self.position(answer.server_address.as_deref(), id));
        let Some(mut call) = position.and_then(|position| self.held.remove(position)) else { return };
        let answer = *answer;
        call.usage = answer.usage;
        call.error = answer.error;
        let (mine, theirs) = (&mut call.response, answer.response);
        mine.finish_reasons = theirs.finish_reasons;
        mine.tool_calls = theirs.tool_calls;
        mine.model = theirs.model.or_else(|| mine.model.take());
        mine.service_tier = theirs.service_tier.or_else(|| mine.service_tier.take());
        if let Some(said) = answer.content {
            call.content.get_or_insert_default().output = said.output;
        }
        // The answer did not end early after all.
        call.aborted = false;
        calls.push(call);
    }

    /// It is `now`: those that have waited too long leave.
    pub fn expire(&mut self, now: u64, calls: &mut Vec<EndedCall>) {
        while let Some(call) = self.held.pop_front_if(|call| call.times.end.saturating_add(PATIENCE) < now) {
            calls.push(call);
        }
    }

    /// All leave.
    pub fn finish(&mut self, calls: &mut Vec<EndedCall>) {
        calls.extend(self.held.drain(..));
    }

    fn position(&self, host: Option<&str>, id: &str) -> Option<usize> {
        let fits = |call: &EndedCall| call.response.id.as_deref() == Some(id) && call.server_address.as_deref() == host;
        self.held.iter().position(fits)
    }
}

/// `{id}` of `…/responses/{id}`.
pub fn retrieved(path: &str) -> Option<&str> {
    let (before, id) = path.rsplit_once('/')?;
    let plausible = id.len() >= 8 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    (plausible && before.ends_with("/responses")).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        exchange::ExchangeId,
        llm::{Calls, Limits, Options, tests::drive::Exchange},
    };

    const ASK: &str = r#"{"model":"m","input":"x","background":true}"#;
    const QUEUED: &str = r#"{"id":"resp_1234567","object":"response","status":"queued","model":"m","usage":null}"#;
    const DONE: &str = r#"{"id":"resp_1234567","object":"response","status":"completed","model":"m-1","output":[],"usage":{"input_tokens":5,"output_tokens":7}}"#;

    /// What is asked of a host, and the body of its answer.
    #[derive(Clone, Copy)]
    struct Step(&'static str, &'static str, &'static str);

    /// The calls that come of these exchanges, one a second, and how many were told before the end of all.
    fn calls(steps: &[Step]) -> (Vec<EndedCall>, usize) {
        let (mut calls, mut found) = (Calls::new(Limits::default(), Options::default()), Vec::new());
        for (index, Step(method, host, answer)) in (0..).zip(steps.iter().copied()) {
            let path = if method == "POST" { "/v1/responses" } else { "/v1/responses/resp_1234567" };
            let mut exchange = Exchange::post(host, path);
            exchange.head.method = method.into();
            exchange.id = ExchangeId { index, ..exchange.id };
            exchange.at = u64::from(index) * 1_000_000_000;
            let request = if method == "POST" { ASK } else { "" };
            let exchange = exchange.request(request).response(200, &[]).body(answer).ending();
            exchange.events.iter().for_each(|event| {
                calls.push(event, &mut found);
            });
        }
        let told = found.len();
        calls.finish(&mut found);
        (found, told)
    }

    const HOST: &str = "api.openai.com";
    const POST: Step = Step("POST", HOST, QUEUED);
    const POLL: Step = Step("GET", HOST, QUEUED);
    const LAST: Step = Step("GET", HOST, DONE);

    #[test]
    fn the_last_poll_tells_what_the_response_cost() {
        let (found, told) = calls(&[POST, POLL, LAST, LAST]);
        assert_eq!((found.len(), told), (1, 1));
        let call = &found[0];
        assert_eq!((call.usage.input, call.usage.output), (Some(5), Some(7)));
        assert_eq!(call.response.finish_reasons, ["completed"]);
        assert_eq!(call.response.model.as_deref(), Some("m-1"));
        assert_eq!(call.id.index, 0);
        assert!(call.times.end < 1_000_000_000, "the times are the POST's");
    }

    #[test]
    fn without_its_end_it_is_told_as_the_post_left_it() {
        for steps in [&[POST][..], &[POST, POLL], &[POST, Step("GET", "other.example", DONE)]] {
            let (found, told) = calls(steps);
            assert_eq!((found.len(), told), (1, 0));
            assert_eq!((found[0].usage.output, found[0].response.finish_reasons.len()), (None, 0));
        }
    }

    #[test]
    fn a_poll_alone_is_no_call() {
        assert!(calls(&[LAST]).0.is_empty());
    }

    #[test]
    fn what_waits_is_bounded_in_number_and_time() {
        let (mut background, mut left) = (Background::default(), Vec::new());
        let (found, _) = calls(&[POST]);
        for _ in 0..5 {
            background.hold(found[0].clone(), 3, &mut left);
        }
        assert_eq!((left.len(), background.held.len()), (2, 3));
        background.expire(found[0].times.end + PATIENCE, &mut left);
        assert_eq!(left.len(), 2);
        background.expire(found[0].times.end + PATIENCE + 1, &mut left);
        assert_eq!(left.len(), 5);
    }

    #[test]
    fn paths_of_single_responses() {
        assert_eq!(retrieved("/v1/responses/resp_1234567"), Some("resp_1234567"));
        assert_eq!(retrieved("/v1/responses"), None);
        assert_eq!(retrieved("/v1/responses/resp_1234567/input_items"), None);
        assert_eq!(retrieved("/v1/responses/"), None);
    }
}
