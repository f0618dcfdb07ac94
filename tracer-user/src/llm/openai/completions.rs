//! OpenAI completions: the older API that continues a prompt. Mistral's `fim/completions` fills in the middle.
//!
//! - Request, response and chunks: <https://platform.openai.com/docs/api-reference/completions>

use super::{chat::ANSWER, claim_endpoint, path_facts, request::SETTINGS};
use crate::{
    content::forms::CHOICES,
    llm::{
        Claim,
        call::Operation,
        json::Shape,
        json_dialect::JsonDialect,
        recognise::{Target, databricks_endpoint, ends_with},
        request::Field as F,
    },
    proto::RequestHead,
};

pub static COMPLETIONS: JsonDialect = JsonDialect {
    path: path_facts,
    content: Some(&CHOICES),
    ..JsonDialect::new("openai_completions", "openai", Operation::TextCompletion, claim, &REQUEST, &ANSWER)
};

fn claim(head: &RequestHead, target: Option<&Target<'_>>) -> Claim {
    let path = &head.path;
    if databricks_endpoint(path).is_some() {
        return Claim::ByRequest;
    }
    match () {
        () if ends_with(path, &["chat", "completions"]) || ends_with(path, &["agents", "completions"]) => Claim::None,
        () if ends_with(path, &["fim", "completions"]) => Claim::Sure,
        () => claim_endpoint(path, target, "completions"),
    }
}

const REQUEST: Shape<F> = Shape::container(F::Root).members(SETTINGS).and(&[("prompt", Shape::presence(F::Prompt))]);
