//! OpenAI audio: transcriptions and translations of speech, and speech from text. A request to transcribe is a form. An
//! answer can be plain text or subtitles, and speech is bytes of audio: then only the request proves the call.
//!
//! - Requests, responses and events: <https://platform.openai.com/docs/api-reference/audio>

use super::{
    claim_endpoint, path_facts,
    request::SETTINGS,
    response::{LOGPROBS_LIST, TOP_ERRORS, USAGE},
};
use crate::{
    llm::{
        Claim,
        answer::{Field as A, Form, Kind},
        call::Operation,
        json::Shape,
        json_dialect::JsonDialect,
        recognise::{Target, ends_with},
        request::Field as F,
    },
    proto::RequestHead,
};

pub static TRANSCRIPTIONS: JsonDialect = JsonDialect {
    path: path_facts,
    ..JsonDialect::new(
        "openai_transcriptions",
        "openai",
        Operation::GenerateContent,
        |head, target| claim(head, target, &["transcriptions", "translations"]),
        &TRANSCRIPTION_REQUEST,
        &TRANSCRIPTION_ANSWER,
    )
};
pub static SPEECH: JsonDialect = JsonDialect {
    path: path_facts,
    output_type: Some("speech"),
    ..JsonDialect::new(
        "openai_speech",
        "openai",
        Operation::GenerateContent,
        |head, target| claim(head, target, &["speech"]),
        &SPEECH_REQUEST,
        &SPEECH_ANSWER,
    )
};

fn claim(head: &RequestHead, target: Option<&Target<'_>>, last: &[&str]) -> Claim {
    match last.iter().find(|last| ends_with(&head.path, &["audio", last])) {
        // The request is no JSON, and there is little in the answer that could prove it.
        Some(last) if ends_with(&head.path, &["v1", "audio", last]) => Claim::Sure,
        Some(last) => claim_endpoint(&head.path, target, last),
        None => Claim::None,
    }
}

/// Parts of a form, or members of JSON, which some services take.
const TRANSCRIPTION_REQUEST: Shape<F> = Shape::container(F::Root)
    .members(SETTINGS)
    .and(&[("file", Shape::presence(F::Prompt)), ("url", Shape::presence(F::Prompt))]);
const SPEECH_REQUEST: Shape<F> =
    Shape::container(F::Root).members(SETTINGS).and(&[("input", Shape::presence(F::Prompt))]);

const ERRORS: &[(&str, Shape<A>)] = &[("type", Shape::value(A::Kind)), TOP_ERRORS[0], TOP_ERRORS[2]];
const TRANSCRIPTION_RESPONSE: Shape<A> = Shape::container(A::Root)
    .members(&[
        ("text", Shape::presence(A::Proof)),
        ("delta", Shape::presence(A::Content)),
        ("logprobs", LOGPROBS_LIST),
        // Of the verbose form.
        ("duration", Shape::value(A::Seconds)),
        ("usage", USAGE),
    ])
    .and(ERRORS);
static TRANSCRIPTION_ANSWER: Form = Form {
    kinds: &[
        ("transcript.text.delta", Kind::Proof),
        ("transcript.text.segment", Kind::Proof),
        ("transcript.text.done", Kind::End),
        ("error", Kind::Error),
    ],
    ..Form::new(&TRANSCRIPTION_RESPONSE)
};
const SPEECH_RESPONSE: Shape<A> =
    Shape::container(A::Root).members(&[("audio", Shape::presence(A::Content)), ("usage", USAGE)]).and(ERRORS);
static SPEECH_ANSWER: Form = Form {
    kinds: &[("speech.audio.delta", Kind::Proof), ("speech.audio.done", Kind::End), ("error", Kind::Error)],
    ..Form::new(&SPEECH_RESPONSE)
};
