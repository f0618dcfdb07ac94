//! Responses of the Responses API, whole or as events: the first and the last event carry the whole response under
//! `response`; the last one its usage.

use crate::llm::{
    call::{LlmCall, ToolCall, Usage, Withheld},
    decode::{CallLimits, Evidence, Keep, ResponseReader, Seen},
    failure::{Failure, Part},
    json::{Container, Scalar, Shape, Sink},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Root,
    Response,
    Type,
    Object,
    Id,
    Model,
    ServiceTier,
    Status,
    IncompleteReason,
    Delta,
    Output,
    /// An item of an event, and one of a whole response.
    Item,
    OutputItem,
    ItemType,
    ItemName,
    ItemCallId,
    ItemAction,
    /// Type of a part of a message.
    PartType,
    /// A filter of Azure's has kept back what it looked at.
    Blocked,
    InputTokens,
    CachedTokens,
    CacheWriteTokens,
    OutputTokens,
    ReasoningTokens,
    /// USD.
    Cost,
    /// 10^-10 USD.
    CostTicks,
    Failure(Part),
}

use Field as F;

const USAGE: Shape<F> = Shape::through().members(&[
    ("input_tokens", Shape::value(F::InputTokens)),
    (
        "input_tokens_details",
        Shape::through().members(&[
            ("cached_tokens", Shape::value(F::CachedTokens)),
            ("cache_write_tokens", Shape::value(F::CacheWriteTokens)),
        ]),
    ),
    ("output_tokens", Shape::value(F::OutputTokens)),
    ("output_tokens_details", Shape::through().members(&[("reasoning_tokens", Shape::value(F::ReasoningTokens))])),
    // OpenRouter and Vercel state a number; Perplexity an object.
    ("cost", Shape::value(F::Cost).members(&[("total_cost", Shape::value(F::Cost))])),
    // xAI.
    ("cost_in_usd_ticks", Shape::value(F::CostTicks)),
]);
const PART: Shape<F> = Shape::through().members(&[("type", Shape::value(F::PartType))]);
const ITEM_MEMBERS: &[(&str, Shape<F>)] = &[
    ("type", Shape::value(F::ItemType)),
    ("name", Shape::value(F::ItemName)),
    ("call_id", Shape::value(F::ItemCallId)),
    ("action", Shape::through().members(&[("type", Shape::value(F::ItemAction))])),
    ("content", Shape::through().items(&PART)),
];
const ITEM: Shape<F> = Shape::container(F::Item).members(ITEM_MEMBERS);
const OUTPUT_ITEM: Shape<F> = Shape::container(F::OutputItem).members(ITEM_MEMBERS);
const OUTPUT: Shape<F> = Shape::container(F::Output).items(&OUTPUT_ITEM);
const ERROR: Shape<F> = Shape::value(F::Failure(Part::Error))
    .members(&[("code", Shape::value(F::Failure(Part::Code))), ("type", Shape::value(F::Failure(Part::Type)))]);
const INCOMPLETE: Shape<F> = Shape::through().members(&[("reason", Shape::value(F::IncompleteReason))]);
const FILTERS: Shape<F> = Shape::through().items(&Shape::through().members(&[("blocked", Shape::value(F::Blocked))]));
const WHOLE: Shape<F> = Shape::container(F::Response).members(&[
    ("object", Shape::value(F::Object)),
    ("id", Shape::value(F::Id)),
    ("model", Shape::value(F::Model)),
    ("service_tier", Shape::value(F::ServiceTier)),
    ("status", Shape::value(F::Status)),
    ("incomplete_details", INCOMPLETE),
    ("output", OUTPUT),
    ("usage", USAGE),
    ("error", ERROR),
    ("content_filters", FILTERS),
]);
const RESPONSE: Shape<F> = Shape::container(F::Root).members(&[
    ("type", Shape::value(F::Type)),
    ("delta", Shape::presence(F::Delta)),
    ("item", ITEM),
    ("response", WHOLE),
    ("object", Shape::value(F::Object)),
    ("id", Shape::value(F::Id)),
    ("model", Shape::value(F::Model)),
    ("service_tier", Shape::value(F::ServiceTier)),
    ("status", Shape::value(F::Status)),
    ("incomplete_details", INCOMPLETE),
    ("output", OUTPUT),
    ("usage", USAGE),
    ("error", ERROR),
    ("code", Shape::value(F::Failure(Part::TopCode))),
    ("content_filters", FILTERS),
]);

/// An output item, until it is whole: its `type` may stand last.
#[derive(Default)]
struct Item {
    kind: Option<String>,
    name: Option<String>,
    call_id: Option<String>,
    action: Option<String>,
}

pub struct ResponsesResponse {
    keep: Keep,
    fits: bool,
    is_object: bool,
    id: Option<String>,
    model: Option<String>,
    /// The latest: the first event repeats what the request asked for.
    service_tier: Option<String>,
    status: Option<String>,
    incomplete_reason: Option<String>,
    item: Item,
    calls: Vec<ToolCall>,
    refused: bool,
    blocked: bool,
    usage: Usage,
    cost: Option<f64>,
    failure: Failure,
    ends: bool,
    seen: Seen,
}

impl ResponsesResponse {
    pub fn new(limits: CallLimits) -> Self {
        Self {
            keep: Keep::new(limits),
            fits: false,
            is_object: false,
            id: None,
            model: None,
            service_tier: None,
            status: None,
            incomplete_reason: None,
            item: Item::default(),
            calls: Vec::new(),
            refused: false,
            blocked: false,
            usage: Usage::default(),
            cost: None,
            failure: Failure::default(),
            ends: false,
            seen: Seen::default(),
        }
    }

    fn latest(&mut self, place: fn(&mut Usage) -> &mut Option<u64>, value: Scalar<'_>) {
        if let Some(count) = value.count() {
            *place(&mut self.usage) = Some(count);
            self.seen.news = true;
        }
    }

    /// `counts` for the items of a whole response: an event may repeat one of them.
    fn end_item(&mut self, counts: bool) {
        let item = std::mem::take(&mut self.item);
        let kind = item.kind.as_deref().unwrap_or_default();
        self.seen.content |= kind.ends_with("_call");
        self.seen.news = true;
        if counts {
            // Of web searches only the search itself has a fee; opening a page and looking for words in it have none.
            let searched = item.action.as_deref().is_none_or(|action| action == "search");
            match kind {
                "web_search_call" if searched => add(&mut self.usage.web_searches),
                "file_search_call" => add(&mut self.usage.file_searches),
                _ => {}
            }
        }
        // Tools that the service runs itself have types of their own.
        if !matches!(kind, "function_call" | "custom_tool_call") {
            return;
        }
        // An item comes when it begins, when it is whole, and in the whole response.
        let known = |call: &ToolCall| call.id.is_some() && call.id == item.call_id;
        if !self.calls.iter().any(known) && self.keep.entry(self.calls.len()) {
            let name = item.name.and_then(|name| self.keep.text(&name)).unwrap_or_default();
            let id = item.call_id.and_then(|id| self.keep.text(&id));
            self.calls.push(ToolCall { name, id });
        }
    }

    fn refuse(&mut self) {
        self.seen.news |= !self.refused;
        self.refused = true;
    }

    /// What the service calls the end: its status, or the reason why the answer is not complete.
    fn finish_reason(&mut self) -> Option<String> {
        let status = self.status.take().filter(|status| !matches!(status.as_str(), "queued" | "in_progress"))?;
        Some(self.incomplete_reason.take().filter(|_| status == "incomplete").unwrap_or(status))
    }
}

fn add(count: &mut Option<u64>) {
    *count = Some(count.unwrap_or(0).saturating_add(1));
}

impl Sink<Field> for ResponsesResponse {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        match field {
            F::Type => {
                let kind = value.str().unwrap_or_default();
                self.fits |= kind.starts_with("response.");
                if matches!(kind, "response.refusal.delta" | "response.refusal.done") {
                    self.refuse();
                }
                self.ends = matches!(kind, "response.completed" | "response.incomplete" | "response.failed");
                if kind == "error" {
                    self.failure.begin();
                    self.seen.news = true;
                }
            }
            F::Object => self.fits |= matches!(value.str(), Some("response" | "response.compaction")),
            F::Id if self.id.is_none() => {
                self.keep.first(&mut self.id, value);
                self.seen.news = true;
            }
            F::Model if self.model.is_none() => {
                self.keep.first(&mut self.model, value);
                self.seen.news = true;
            }
            F::ServiceTier => {
                if let Some(tier) = value.str() {
                    self.service_tier = Some(tier.to_owned());
                    self.seen.news = true;
                }
            }
            // Over a WebSocket an error can state what its HTTP status would be.
            F::Status if value.count().is_some() => self.failure.scalar(Part::Code, value),
            F::Status => {
                self.status = value.str().map(str::to_owned);
                self.seen.news = true;
            }
            F::IncompleteReason => {
                self.incomplete_reason = value.str().map(str::to_owned);
                self.seen.news = true;
            }
            F::Delta => self.seen.content |= value.is_present(),
            F::ItemType => self.item.kind = value.str().map(str::to_owned),
            F::ItemName => self.item.name = value.str().map(str::to_owned),
            F::ItemCallId => self.item.call_id = value.str().map(str::to_owned),
            F::ItemAction => self.item.action = value.str().map(str::to_owned),
            F::PartType if value.str() == Some("refusal") => self.refuse(),
            F::Blocked if value.bool() == Some(true) => {
                self.seen.news |= !self.blocked;
                self.blocked = true;
            }
            F::InputTokens => self.latest(|usage| &mut usage.input, value),
            F::CachedTokens => self.latest(|usage| &mut usage.cache_read, value),
            F::CacheWriteTokens => self.latest(|usage| &mut usage.cache_write, value),
            F::OutputTokens => self.latest(|usage| &mut usage.output, value),
            F::ReasoningTokens => self.latest(|usage| &mut usage.reasoning, value),
            F::Cost | F::CostTicks => {
                if let Some(cost) = value.float().filter(|cost| *cost >= 0.0) {
                    self.cost = Some(if field == F::Cost { cost } else { cost / 1e10 });
                    self.seen.news = true;
                }
            }
            F::Failure(part) => {
                self.failure.scalar(part, value);
                self.seen.news |= value.is_present();
            }
            _ => {}
        }
    }

    fn open(&mut self, field: Field, container: Container) {
        match (field, container) {
            (F::Root, Container::Object) => self.is_object = true,
            (F::Item | F::OutputItem, Container::Object) => self.item = Item::default(),
            // A stream states the whole response more than once.
            (F::Output, Container::Array) => {
                self.usage.web_searches = None;
                self.usage.file_searches = None;
            }
            (F::Failure(Part::Error), Container::Object) => {
                self.failure.begin();
                self.seen.news = true;
            }
            _ => {}
        }
    }

    fn close(&mut self, field: Field) {
        match field {
            F::Item => self.end_item(false),
            F::OutputItem => self.end_item(true),
            _ => {}
        }
    }
}

impl ResponseReader for ResponsesResponse {
    type Field = Field;

    fn shape(&self) -> &'static Shape<Field> {
        &RESPONSE
    }

    fn begin_event(&mut self, name: &[u8]) -> bool {
        self.seen = Seen { data: true, ..Seen::default() };
        self.ends = false;
        if name == b"error" {
            self.failure.begin();
            self.seen.news = true;
        }
        name != b"ping"
    }

    fn end_event(&mut self) -> Seen {
        Seen { end: self.ends, ..self.seen }
    }

    fn evidence(&self) -> Evidence {
        Evidence::of(self.fits, self.is_object && !self.failure.is_present())
    }

    fn finish(&mut self, call: &mut LlmCall) -> u64 {
        call.usage = self.usage;
        call.provider_cost = self.cost.or(call.provider_cost);
        call.error = self.failure.error(call.response.status);
        let response = &mut call.response;
        response.id = self.id.take();
        response.model = self.model.take();
        response.service_tier = self.service_tier.take();
        response.finish_reasons = self.finish_reason().into_iter().collect();
        response.tool_calls = std::mem::take(&mut self.calls);
        response.refused = self.refused;
        response.withheld = self.blocked.then_some(Withheld::Filter);
        self.keep.dropped
    }
}
