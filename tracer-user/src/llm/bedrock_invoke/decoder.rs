//! Reads one exchange of InvokeModel: unpacks what Bedrock puts around the model's own bodies and leaves these to the
//! readers of the vendors' APIs.

use std::sync::LazyLock;

use base64::{Engine, engine::general_purpose::STANDARD};
use memchr::memmem;

use super::{
    model::{ALL, Bodies, Body},
    native::{self, NativeRequest, NativeResponse},
};
use crate::{
    attribution::Reading,
    llm::{
        answer::Answer,
        anthropic::{self, AnthropicResponse},
        bedrock::{self, Counted},
        bedrock_converse::{ConverseRequest, ConverseResponse},
        call::{LlmCall, Operation, Withheld},
        cohere,
        decode::{CallLimits, Decoder, Evidence, Finish, JsonDecoder, Seen},
        facts,
        failure::{Failure, Part},
        json::{Container, Scalar, Scanner, Shape, Sink},
        json_dialect::JsonDialect,
        openai,
        request::Draft,
    },
    proto::{Headers, Part as FormPart, ResponseHead},
};

/// Longest model id that is kept. An ARN has at most 2,048 characters.
const MODEL_BYTES: usize = 2048;
/// What Bedrock adds to the last chunk of a stream.
const METRICS: &str = "amazon-bedrock-invocationMetrics";
/// What Bedrock adds to the body, or the last chunk, where a guardrail was asked: `INTERVENED` or `NONE`.
const GUARDRAIL: &str = "amazon-bedrock-guardrailAction";
static GUARDRAIL_NAME: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(GUARDRAIL));
static METRICS_NAME: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(METRICS));

pub struct InvokeDecoder {
    model: String,
    stream: bool,
    service_tier: Option<String>,
    response_tier: Option<String>,
    performance: Option<String>,
    /// Never empty. The first that fits is the one that counts.
    readers: Vec<(Body, Box<dyn Decoder>)>,
    chunk: Scanner<Around>,
    chunk_text: ChunkText,
    /// The model's own event of the latest chunk.
    event: Vec<u8>,
    metrics: Scanner<Metric>,
    counted: Metrics,
    headers: Counted,
    error: Scanner<Part>,
    guardrail: Scanner<Acts>,
    acts: Acts,
    /// The status does not speak against it.
    may_have_failed: bool,
    failure: Errors,
}

impl InvokeDecoder {
    /// `headers` are the request's.
    pub fn new(model: String, stream: bool, headers: &Headers, limits: CallLimits) -> Self {
        let bodies = match Bodies::of(&model) {
            Bodies::Known(bodies) => bodies,
            Bodies::None | Bodies::Any => ALL,
        };
        Self {
            stream,
            service_tier: short(headers, "x-amzn-bedrock-service-tier"),
            response_tier: None,
            performance: None,
            readers: bodies.iter().map(|body| (*body, body.reader(&model, limits))).collect(),
            chunk: Scanner::new(&CHUNK),
            chunk_text: ChunkText::default(),
            event: Vec::new(),
            metrics: Scanner::new(&METRIC),
            counted: Metrics::default(),
            headers: Counted::default(),
            error: Scanner::new(&ERROR),
            guardrail: Scanner::new(&GUARDRAIL_ACTION),
            acts: Acts::default(),
            may_have_failed: true,
            failure: Errors::default(),
            model,
        }
    }

    /// The reader whose API the bodies speak, as far as they tell.
    fn fitting(&mut self) -> usize {
        let response = self.readers.iter().position(|(_, reader)| reader.response_evidence() == Evidence::Fits);
        let fits = |(_, reader): &mut (Body, Box<dyn Decoder>)| reader.request_evidence() == Evidence::Fits;
        response.or_else(|| self.readers.iter_mut().position(fits)).unwrap_or(0)
    }

    /// The model's own event inside a chunk, or the data as it is: gateways unpack it.
    fn unpack(&mut self, data: &[u8]) -> bool {
        self.chunk_text.0.clear();
        self.chunk.document(data, &mut self.chunk_text);
        self.event.clear();
        if self.chunk_text.0.is_empty() {
            self.event.extend_from_slice(data);
            return true;
        }
        STANDARD.decode_vec(&self.chunk_text.0, &mut self.event).is_ok()
    }
}

impl Decoder for InvokeDecoder {
    fn request(&mut self, bytes: &[u8], whom: &mut Reading) {
        for (_, reader) in &mut self.readers {
            reader.request(bytes, whom);
        }
    }

    fn request_part(&mut self, _: &FormPart) {}

    fn response_head(&mut self, head: &ResponseHead) {
        bedrock::failed(head, &mut self.failure.0);
        self.may_have_failed = head.status >= 400;
        self.headers = Counted::of(&head.headers);
        self.response_tier = facts::service_tier(&head.headers);
        self.performance = short(&head.headers, "x-amzn-bedrock-performanceconfig-latency");
        // What the request refutes need not be read further.
        if self.readers.iter_mut().any(|(_, reader)| reader.request_evidence() == Evidence::Fits) {
            self.readers.retain_mut(|(_, reader)| reader.request_evidence() == Evidence::Fits);
        }
    }

    fn response(&mut self, bytes: &[u8]) {
        if self.may_have_failed {
            self.error.push(bytes, &mut self.failure);
        }
        self.guardrail.push(bytes, &mut self.acts);
        for (_, reader) in &mut self.readers {
            reader.response(bytes);
        }
    }

    fn event(&mut self, _: &[u8], data: &[u8]) -> Seen {
        if !self.unpack(data) {
            return Seen::default();
        }
        let mut seen = Seen::default();
        for (_, reader) in &mut self.readers {
            seen |= reader.event(b"", &self.event);
        }
        if METRICS_NAME.find(&self.event).is_some() {
            self.counted.seen = false;
            self.metrics.document(&self.event, &mut self.counted);
            seen.end |= self.counted.seen;
        }
        if GUARDRAIL_NAME.find(&self.event).is_some() {
            self.guardrail.document(&self.event, &mut self.acts);
            seen.news |= self.acts.0;
        }
        seen
    }

    fn exception(&mut self, name: &[u8]) -> Seen {
        bedrock::named(&String::from_utf8_lossy(name), &mut self.failure.0);
        Seen { data: true, end: true, news: true, ..Seen::default() }
    }

    fn lost(&mut self, request: bool) {
        for (_, reader) in &mut self.readers {
            reader.lost(request);
        }
        if !request {
            self.error.gap();
            self.guardrail.gap();
        }
    }

    fn request_evidence(&mut self) -> Evidence {
        of_all(self.readers.iter_mut().map(|(_, reader)| reader.request_evidence()))
    }

    fn response_evidence(&self) -> Evidence {
        of_all(self.readers.iter().map(|(_, reader)| reader.response_evidence()))
    }

    fn finish(&mut self, call: &mut LlmCall) -> Finish {
        let index = self.fitting();
        let (body, reader) = &mut self.readers[index];
        call.operation = body.operation();
        let mut finish = reader.finish(call);
        if matches!(body, Body::Anthropic) && call.request.messages.is_none() && call.request.body_bytes > 0 {
            call.operation = Operation::TextCompletion;
        }
        self.counted.counted.complete(&mut call.usage);
        self.headers.complete(&mut call.usage);
        if self.acts.0 {
            call.response.withheld = Some(Withheld::Guardrail);
        }
        call.error = self.failure.0.error(call.response.status).or(call.error.take());
        call.request.stream = Some(self.stream);
        call.request.service_tier = self.service_tier.take().or(call.request.service_tier.take());
        call.response.service_tier = self.response_tier.take().or(call.response.service_tier.take());
        bedrock::priced_latency(call, self.performance.as_deref());
        if self.model.len() > MODEL_BYTES {
            finish.dropped += 1;
        } else if !self.model.is_empty() {
            call.request.model = Some(std::mem::take(&mut self.model));
        }
        finish
    }
}

impl Body {
    fn reader(self, model: &str, limits: CallLimits) -> Box<dyn Decoder> {
        let of = |api: &JsonDialect| {
            let decoder = JsonDecoder::new(Draft::new(api.request, limits), Answer::new(api.response, limits));
            Box::new(decoder) as Box<dyn Decoder>
        };
        match self {
            Self::Anthropic => {
                let request = Draft::new(&anthropic::REQUEST, limits);
                Box::new(JsonDecoder::new(request, AnthropicResponse::new(limits)))
            }
            Self::Nova => {
                Box::new(JsonDecoder::new(ConverseRequest::new(None, None, limits), ConverseResponse::new(limits)))
            }
            Self::OpenAiChat => of(&openai::CHAT),
            Self::OpenAiCompletions => of(&openai::COMPLETIONS),
            Self::CohereChat => of(&cohere::CHAT),
            Self::CohereGenerate => of(&cohere::GENERATE),
            Self::CohereEmbed => of(&cohere::EMBED),
            Self::Native => {
                let response = NativeResponse::new(native::operation(model), limits);
                Box::new(JsonDecoder::new(NativeRequest::new(limits), response))
            }
        }
    }

    fn operation(self) -> Operation {
        match self {
            Self::Anthropic | Self::Nova | Self::OpenAiChat | Self::CohereChat => Operation::Chat,
            Self::OpenAiCompletions | Self::CohereGenerate | Self::Native => Operation::TextCompletion,
            Self::CohereEmbed => Operation::Embeddings,
        }
    }
}

/// What one reader takes for its own fits; only what none does speaks against it.
fn of_all(readers: impl Iterator<Item = Evidence>) -> Evidence {
    let all = readers.reduce(|all, one| match (all, one) {
        (Evidence::Fits, _) | (_, Evidence::Fits) => Evidence::Fits,
        (Evidence::Contradicts, Evidence::Contradicts) => Evidence::Contradicts,
        _ => Evidence::None,
    });
    all.unwrap_or(Evidence::None)
}

/// A header field's value, if it is a word.
fn short(headers: &Headers, name: &str) -> Option<String> {
    headers.get(name).filter(|value| (1..=64).contains(&value.len())).map(str::to_owned)
}

/// The member that holds a chunk's event.
#[derive(Debug, Clone, Copy)]
struct Around;

const CHUNK: Shape<Around> = Shape::through().members(&[("bytes", Shape::text(Around))]);

#[derive(Default)]
struct ChunkText(Vec<u8>);

impl Sink<Around> for ChunkText {
    fn scalar(&mut self, _: Around, _: Scalar<'_>) {}

    fn text(&mut self, _: Around, piece: &[u8]) {
        self.0.extend_from_slice(piece);
    }
}

#[derive(Debug, Clone, Copy)]
enum Metric {
    All,
    Input,
    Output,
    CacheRead,
    CacheWrite,
}

const METRIC: Shape<Metric> = Shape::through().members(&[(
    METRICS,
    Shape::container(Metric::All).members(&[
        ("inputTokenCount", Shape::value(Metric::Input)),
        ("outputTokenCount", Shape::value(Metric::Output)),
        ("cacheReadInputTokenCount", Shape::value(Metric::CacheRead)),
        ("cacheWriteInputTokenCount", Shape::value(Metric::CacheWrite)),
    ]),
)]);

#[derive(Default)]
struct Metrics {
    counted: Counted,
    seen: bool,
}

impl Sink<Metric> for Metrics {
    fn scalar(&mut self, field: Metric, value: Scalar<'_>) {
        let place = match field {
            Metric::All => return,
            Metric::Input => &mut self.counted.input,
            Metric::Output => &mut self.counted.output,
            Metric::CacheRead => &mut self.counted.cache_read,
            Metric::CacheWrite => &mut self.counted.cache_write,
        };
        *place = value.count().or(*place);
    }

    fn open(&mut self, _: Metric, _: Container) {
        self.seen = true;
    }
}

/// Whether a guardrail has stepped in.
#[derive(Debug, Clone, Copy, Default)]
struct Acts(bool);

const GUARDRAIL_ACTION: Shape<Acts> = Shape::through().members(&[(GUARDRAIL, Shape::value(Acts(true)))]);

impl Sink<Acts> for Acts {
    fn scalar(&mut self, _: Acts, value: Scalar<'_>) {
        // `GUARDRAIL_INTERVENED` is Converse's word.
        self.0 |= value.str().is_some_and(|action| action.ends_with("INTERVENED"));
    }
}

/// An error's name in its body, where no header has it.
const ERROR: Shape<Part> = Shape::through().members(&[("__type", Shape::value(Part::Type))]);

#[derive(Default)]
struct Errors(Failure);

impl Sink<Part> for Errors {
    fn scalar(&mut self, _: Part, value: Scalar<'_>) {
        if let Some(name) = value.str() {
            bedrock::named(name, &mut self.0);
        }
    }
}
