//! OpenAI embeddings, as lists of numbers or as base64 of little-endian 32-bit floats.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::mock::{
    api::{Ask, count_inputs, vector},
    directive::StateUsage,
    plan::{Body, Plan, Stated},
    truth::Usage,
};

pub fn plan(ask: &Ask<'_>) -> Plan {
    let amounts = ask.amounts(false);
    let dimensions = ask.request.get("dimensions").and_then(Value::as_u64).unwrap_or(8).min(4096) as usize;
    let base64 = ask.request.get("encoding_format").and_then(Value::as_str) == Some("base64");
    let model = ask.response_model("2026-10-01");
    let data: Vec<Value> = (0..count_inputs(ask.request.get("input")))
        .map(|index| {
            let numbers = vector(index, dimensions);
            let embedding = if base64 {
                STANDARD.encode(numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>()).into()
            } else {
                json!(numbers)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let mut body = json!({"object": "list", "data": data, "model": model});
    let mut states = Stated { model: Some(model), ..Stated::default() };
    // OpenAI gives embeddings no id; Mistral does.
    if let Some(id) = &ask.directive.id {
        body["id"] = id.as_str().into();
        states.id = Some(id.clone());
    }
    if ask.directive.usage != StateUsage::Never {
        body["usage"] = json!({"prompt_tokens": amounts.input, "total_tokens": amounts.input});
        states.usage = Some(Usage { input: Some(amounts.input), ..Usage::default() });
    }
    Plan {
        status: 200,
        headers: super::headers(ask.serial),
        body: Body::Whole { bytes: body.to_string().into_bytes(), states },
    }
}
