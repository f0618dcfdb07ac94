//! OpenAI images: made, edited, varied; whole, or as events with partial pictures. What is read is what they cost.
//!
//! - Request, response and events: <https://platform.openai.com/docs/api-reference/images>

use super::{
    path_facts,
    request::SETTINGS,
    response::{TOP_ERRORS, USAGE},
};
use crate::{
    llm::{
        Claim,
        answer::{Field as A, Form, Kind},
        call::Operation,
        json::Shape,
        json_dialect::JsonDialect,
        recognise::{Target, azure_deployment, ends_with},
        request::Field as F,
    },
    proto::RequestHead,
};

pub static IMAGES: JsonDialect = JsonDialect {
    path: path_facts,
    output_type: Some("image"),
    ..JsonDialect::new("openai_images", "openai", Operation::GenerateContent, claim, &REQUEST, &ANSWER)
};

fn claim(head: &RequestHead, target: Option<&Target<'_>>) -> Claim {
    let path = &head.path;
    let last = ["generations", "edits", "variations"].into_iter().find(|last| ends_with(path, &["images", last]));
    match last {
        Some(last)
            if ends_with(path, &["v1", "images", last])
                || azure_deployment(path).is_some()
                || target.is_some_and(Target::is_known) =>
        {
            Claim::Sure
        }
        Some(_) => Claim::ByBody,
        None => Claim::None,
    }
}

const REQUEST: Shape<F> = Shape::container(F::Root).members(SETTINGS).and(&[
    ("prompt", Shape::presence(F::Prompt)),
    ("image", Shape::presence(F::Prompt)),
    ("images", Shape::container(F::Prompt)),
]);

const PICTURE: Shape<A> = Shape::container(A::Picture).members(&[
    ("b64_json", Shape::presence(A::Of(Operation::GenerateContent))),
    ("url", Shape::presence(A::Of(Operation::GenerateContent))),
]);
const RESPONSE: Shape<A> = Shape::container(A::Root)
    .members(&[
        ("data", Shape::container(A::Proof).items(&PICTURE)),
        ("b64_json", Shape::presence(A::Content)),
        ("usage", USAGE),
        ("model", Shape::value(A::Model)),
    ])
    .and(TOP_ERRORS_AND_KIND);
/// `type` is the kind of an event here, and of an error only below `error`.
const TOP_ERRORS_AND_KIND: &[(&str, Shape<A>)] = &[("type", Shape::value(A::Kind)), TOP_ERRORS[0], TOP_ERRORS[2]];
static ANSWER: Form = Form {
    kinds: &[
        ("image_generation.partial_image", Kind::Proof),
        ("image_generation.completed", Kind::End),
        ("image_edit.partial_image", Kind::Proof),
        ("image_edit.completed", Kind::End),
        ("error", Kind::Error),
    ],
    ..Form::new(&RESPONSE)
};
