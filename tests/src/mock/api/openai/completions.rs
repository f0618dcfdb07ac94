//! OpenAI completions, which continue a prompt, whole and streamed; Mistral's fill-in-the-middle has the shape of chat.

use serde_json::{Value, json};

use crate::mock::{
    api::Ask,
    directive::StateUsage,
    plan::{self, Body, PLACEHOLDER, Plan, Stated, Step, event},
    truth::Usage,
};

pub fn plan(ask: &Ask<'_>) -> Plan {
    let amounts = ask.amounts(false);
    let model = ask.response_model("2026-10-01");
    let reason = ask.finish_reason(&amounts, "stop", "stop");
    let usage = json!({
        "prompt_tokens": amounts.input, "completion_tokens": amounts.output,
        "total_tokens": amounts.input + amounts.output,
    });
    let asked = ask.request.pointer("/stream_options/include_usage").and_then(Value::as_bool) == Some(true);
    let states_usage = match ask.directive.usage {
        StateUsage::Auto => asked || !ask.stream,
        StateUsage::Always => true,
        StateUsage::Never => false,
    };
    let stated_usage =
        states_usage.then_some(Usage { input: Some(amounts.input), output: Some(amounts.output), ..Usage::default() });
    let piece = |text: &str, reason: Option<&str>| {
        json!({
            "id": ask.id("cmpl-"), "object": "text_completion", "created": 1_790_000_000, "model": model,
            "choices": [{"text": text, "index": 0, "logprobs": null, "finish_reason": reason}],
        })
    };
    let named = Stated { id: Some(ask.id("cmpl-")), model: Some(model.clone()), ..Stated::default() };
    let ended = Stated { finish_reasons: vec![reason.clone()], ..Stated::default() };
    let body = if ask.stream {
        // The first event brings text and names, as all that follow.
        let mut steps = vec![Step::states(event(None, &piece("", None)), named)];
        steps.extend(plan::words(None, &piece(PLACEHOLDER, None), amounts.tokens));
        steps.push(Step::states(event(None, &piece("", Some(&reason))), ended));
        if states_usage {
            let mut last = piece("", None);
            last["choices"] = json!([]);
            last["usage"] = usage;
            steps.push(Step::states(event(None, &last), Stated { usage: stated_usage, ..Stated::default() }));
        }
        steps.push(Step::silent("data: [DONE]\n\n".to_owned()));
        super::stream(ask, steps)
    } else {
        let mut body = piece(&plan::text(amounts.tokens), Some(&reason));
        if states_usage {
            body["usage"] = usage;
        }
        let states = Stated { usage: stated_usage, finish_reasons: ended.finish_reasons, ..named };
        Body::Whole { bytes: body.to_string().into_bytes(), states }
    };
    Plan { status: 200, headers: super::headers(ask.serial), body }
}
