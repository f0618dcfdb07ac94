//! What a dialect says of its responses: the places of a document by what they tell, and how the API answers otherwise.

use crate::llm::{call::Operation, failure::Part, json::Shape, openai_compatible::Reasoning};

/// What a place of a response tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Root,
    /// A container, or a text, that only answers of this API have.
    Proof,
    /// The same, with what a reader of the stream waits for.
    OwnContent,
    /// A container, or content, that only answers of this operation have: it tells APIs of one form apart.
    Of(Operation),
    /// `object`, whose value can name the operation.
    Object,
    /// The type of an event or of the body, see [`Form::kinds`].
    Kind,
    Id,
    /// An id that errors have, too: no answer's then.
    OwnId,
    Model,
    ServiceTier,
    Fingerprint,
    Choice,
    ChoiceIndex,
    /// Of the choice that is being read, else of the only one.
    FinishReason,
    /// The same of a choice under another name, which goes behind.
    FinishReasonToo,
    /// Why there is no choice at all.
    BlockReason,
    /// The state of the answer; once it is over, that is why it ended.
    Status,
    /// The stream is over.
    Done,
    /// Text, reasoning, a refusal: what a reader of the stream waits for.
    Content,
    /// A text by which the model declines.
    Refusal,
    /// Whether a filter has kept back what it looked at.
    Filtered,
    Calls,
    /// A call, or a part of one: the parts of a call have the same index, or the same id.
    Call,
    /// A call that comes whole.
    WholeCall,
    /// A call that may come several times: when it begins, when it is whole, in the whole answer.
    RepeatedCall,
    /// The older form, of which a choice has one.
    OldCall,
    /// Type of what may be a call, see [`Form::calls`].
    CallKind,
    /// Both [`Field::Kind`] and [`Field::CallKind`]: an event that may be a call itself.
    CallOrKind,
    CallIndex,
    CallId,
    CallName,
    Usage,
    Count(Counter),
    /// An entry of a list of counts by modality.
    Detail(Side),
    DetailModality,
    DetailCount,
    /// A picture that was made.
    Picture,
    /// Length of audio.
    Seconds,
    /// USD.
    Cost,
    /// 10^-10 USD.
    CostTicks,
    Logprob,
    Failure(Part),
}

/// What a count counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    Input,
    /// One of several inputs, each with its own count.
    InputPart,
    /// What goes before every other input, output.
    BilledInput,
    BilledOutput,
    /// Input of tools, which the input leaves out.
    ToolInput,
    InputText,
    InputAudio,
    InputImage,
    Output,
    OutputText,
    OutputAudio,
    OutputImage,
    Reasoning,
    Total,
    CacheRead,
    /// The same under another name, for services that have both.
    CacheReadToo,
    CacheWrite,
    SearchUnits,
}

/// Which tokens a list by modality parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Input,
    Cached,
    Output,
}

/// What a kind of event or body says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is an answer of this API.
    Proof,
    /// The same, and the stream ends with it.
    End,
    Error,
}

use Field as F;

/// How one API answers.
#[derive(Debug)]
pub struct Form {
    pub shape: &'static Shape<Field>,
    /// Values of [`Field::Kind`] that say something.
    pub kinds: &'static [(&'static str, Kind)],
    /// Values of [`Field::CallKind`] that are calls for the client; of others only content. Empty: all are.
    pub calls: &'static [&'static str],
    /// The body itself, or each event, may be a call.
    pub root_is_call: bool,
    /// A finish reason proves that the body is an answer.
    pub reason_is_proof: bool,
    pub reasoning: Reasoning,
    /// Names of reasons that may come as numbers.
    pub numbers: Option<&'static Numbers>,
}

/// Names of reasons by their numbers, as the provider has them: why a choice ended, why a prompt was blocked.
#[derive(Debug)]
pub struct Numbers {
    pub finish: fn(&str) -> &'static [&'static str],
    pub block: fn(&str) -> &'static [&'static str],
}

impl Numbers {
    /// The reason's name; the reason as it is where it is none of the numbers.
    pub fn named(names: &[&str], reason: String) -> String {
        let name = reason.parse::<usize>().ok().and_then(|number| names.get(number));
        name.map_or(reason, |name| (*name).to_owned())
    }
}

impl Form {
    pub const fn new(shape: &'static Shape<Field>) -> Self {
        Self {
            shape,
            kinds: &[],
            calls: &[],
            root_is_call: false,
            reason_is_proof: false,
            reasoning: Reasoning::Included,
            numbers: None,
        }
    }
}

pub const ERROR: Shape<F> = Shape::value(F::Failure(Part::Error)).members(&[
    ("code", Shape::value(F::Failure(Part::Code))),
    ("type", Shape::value(F::Failure(Part::Type))),
    ("status", Shape::value(F::Failure(Part::Status))),
]);
