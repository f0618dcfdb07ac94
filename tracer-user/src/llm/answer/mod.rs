//! The one reader of responses that most JSON dialects share, whole or as events. A dialect gives a [`Form`]: the shape that
//! says where its API states what, the kinds of its events, and how it counts tokens.

mod form;

pub use form::{Counter, ERROR, Field, Form, Kind, Numbers, Side};

use super::{
    call::{LlmCall, Operation, ToolCall, Usage, Withheld},
    decode::{CallLimits, Evidence, Keep, ResponseReader, Seen},
    failure::{Failure, Part},
    json::{Container, Scalar, Shape, Sink},
    openai_compatible::Reasoning,
};

use Field as F;

/// What one choice said, until it is whole: its index may stand last.
#[derive(Default)]
struct Choice {
    index: Option<u64>,
    finish_reason: Option<String>,
    finish_reason_too: Option<String>,
    calls: Vec<CallPart>,
}

#[derive(Default)]
struct CallPart {
    index: Option<u64>,
    id: Option<String>,
    name: Option<String>,
    /// It is of a kind that the client does not run.
    foreign: bool,
    whole: bool,
    /// Its id alone says which call it is.
    by_id: bool,
}

struct Call {
    choice: u64,
    index: Option<u64>,
    call: ToolCall,
}

/// Reads the response of any dialect by its form.
pub struct Answer {
    form: &'static Form,
    reasoning: Reasoning,
    keep: Keep,
    fits: bool,
    is_object: bool,
    operation: Option<Operation>,
    id: Option<String>,
    own_id: Option<String>,
    model: Option<String>,
    service_tier: Option<String>,
    fingerprint: Option<String>,
    /// By choice index.
    finish_reasons: Vec<(u64, String)>,
    block_reason: Option<String>,
    calls: Vec<Call>,
    /// The call that is being read.
    call: Option<CallPart>,
    choices: u64,
    choice: Choice,
    in_choice: bool,
    /// Calls of the list that is being read.
    position: u64,
    usage: Usage,
    counts: Counts,
    detail: Detail,
    cost: Option<f64>,
    logprobs: (f64, u64),
    refused: bool,
    filtered: bool,
    failure: Failure,
    ends: bool,
    done: bool,
    seen: Seen,
}

/// Counts that are not told themselves, but that what is told depends on.
#[derive(Default)]
struct Counts {
    total: Option<u64>,
    cache_read_too: Option<u64>,
    tool_input: Option<u64>,
    billed_input: Option<u64>,
    billed_output: Option<u64>,
}

/// An entry of a list by modality, until it is whole.
#[derive(Default)]
struct Detail {
    modality: Option<&'static str>,
    count: Option<u64>,
}

impl Answer {
    pub fn new(form: &'static Form, limits: CallLimits) -> Self {
        Self {
            form,
            reasoning: form.reasoning,
            keep: Keep::new(limits),
            fits: false,
            is_object: false,
            operation: None,
            id: None,
            own_id: None,
            model: None,
            service_tier: None,
            fingerprint: None,
            finish_reasons: Vec::new(),
            block_reason: None,
            calls: Vec::new(),
            call: None,
            choices: 0,
            choice: Choice::default(),
            in_choice: false,
            position: 0,
            usage: Usage::default(),
            counts: Counts::default(),
            detail: Detail::default(),
            cost: None,
            logprobs: (0.0, 0),
            refused: false,
            filtered: false,
            failure: Failure::default(),
            ends: false,
            done: false,
            seen: Seen::default(),
        }
    }

    /// For services that count reasoning in their own way.
    pub fn with_reasoning(self, reasoning: Reasoning) -> Self {
        Self { reasoning, ..self }
    }

    /// Keeps the first text that is not empty.
    fn first(&mut self, place: fn(&mut Self) -> &mut Option<String>, value: Scalar<'_>) {
        if place(self).is_some() {
            return;
        }
        if let Some(text) = value.str() {
            *place(self) = self.keep.text(text);
            self.seen.news = true;
        }
    }

    fn name(&mut self, operation: Operation) {
        self.seen.news |= self.operation.is_none();
        self.operation.get_or_insert(operation);
    }

    fn kind(&mut self, value: Scalar<'_>) {
        match self.form.kinds.iter().find(|(name, _)| value.str() == Some(name)) {
            Some((_, Kind::Error)) => {
                self.failure.begin();
                self.seen.news = true;
            }
            Some((_, kind)) => {
                self.seen.news |= !self.fits || *kind == Kind::End;
                self.fits = true;
                self.ends |= *kind == Kind::End;
            }
            None => {}
        }
    }

    /// Keeps the latest count that is stated.
    fn count(&mut self, counter: Counter, value: Scalar<'_>) {
        let Some(count) = value.count() else { return };
        let (usage, counts) = (&mut self.usage, &mut self.counts);
        let place = match counter {
            Counter::InputPart => {
                self.seen.news |= usage.input.is_none();
                usage.input = Some(usage.input.unwrap_or(0).saturating_add(count));
                return;
            }
            Counter::Input => &mut usage.input,
            Counter::BilledInput => &mut counts.billed_input,
            Counter::BilledOutput => &mut counts.billed_output,
            Counter::ToolInput => &mut counts.tool_input,
            Counter::InputText => &mut usage.input_text,
            Counter::InputAudio => &mut usage.input_audio,
            Counter::InputImage => &mut usage.input_image,
            Counter::Output => &mut usage.output,
            Counter::OutputText => &mut usage.output_text,
            Counter::OutputAudio => &mut usage.output_audio,
            Counter::OutputImage => &mut usage.output_image,
            Counter::Reasoning => &mut usage.reasoning,
            Counter::Total => &mut counts.total,
            Counter::CacheRead => &mut usage.cache_read,
            Counter::CacheReadToo => &mut counts.cache_read_too,
            Counter::CacheWrite => &mut usage.cache_write,
            Counter::SearchUnits => &mut usage.search_units,
        };
        // A later one is told by itself, see `Shape::number`.
        self.seen.news |= place.is_none();
        *place = Some(count);
    }

    fn end_detail(&mut self, side: Side) {
        let Detail { modality, count } = std::mem::take(&mut self.detail);
        let usage = &mut self.usage;
        let place = match (side, modality) {
            (Side::Input, Some("text")) => &mut usage.input_text,
            (Side::Input, Some("audio")) => &mut usage.input_audio,
            (Side::Input, Some("image")) => &mut usage.input_image,
            (Side::Input, Some("video")) => &mut usage.input_video,
            (Side::Cached, Some("text")) => &mut usage.cache_read_text,
            (Side::Cached, Some("audio")) => &mut usage.cache_read_audio,
            (Side::Cached, Some("image")) => &mut usage.cache_read_image,
            (Side::Output, Some("text")) => &mut usage.output_text,
            (Side::Output, Some("audio")) => &mut usage.output_audio,
            (Side::Output, Some("image")) => &mut usage.output_image,
            _ => return,
        };
        let count = count.or(*place);
        self.seen.news |= *place != count;
        *place = count;
    }

    fn end_call(&mut self) {
        let Some(part) = self.call.take().filter(|part| !part.foreign) else { return };
        // What only repeats a call is no news of it.
        let repeats = part.by_id && self.calls.iter().any(|call| call.call.id == part.id);
        self.seen.content |= part.name.is_some() && !repeats;
        // Outside of a choice it belongs to the only one.
        if !self.in_choice {
            self.add_call(0, part);
        } else if self.keep.entry(self.choice.calls.len()) {
            self.choice.calls.push(part);
        }
    }

    fn finish_reason(&mut self, value: Scalar<'_>) {
        // Google's can be numbers, with `enum-encoding=int`.
        let reason = match value {
            Scalar::Number(number) => number,
            _ => value.str().unwrap_or_default(),
        };
        // IBM's and DashScope's ways to say that it goes on.
        if matches!(reason, "" | "not_finished" | "null") {
            return;
        }
        self.fits |= self.form.reason_is_proof;
        if self.in_choice {
            self.choice.finish_reason = Some(reason.to_owned());
        } else {
            self.add_reason(0, reason);
        }
    }

    fn add_reason(&mut self, choice: u64, reason: &str) {
        self.seen.news = true;
        let at = self.finish_reasons.binary_search_by_key(&choice, |(choice, _)| *choice);
        if at.is_err() && !self.keep.entry(self.finish_reasons.len()) {
            return;
        }
        let Some(reason) = self.keep.text(reason) else { return };
        match at {
            Ok(at) => self.finish_reasons[at].1 = reason,
            Err(at) => self.finish_reasons.insert(at, (choice, reason)),
        }
    }

    fn end_choice(&mut self) {
        let Choice { index, finish_reason, finish_reason_too, calls } = std::mem::take(&mut self.choice);
        self.in_choice = false;
        let choice = index.unwrap_or(self.choices);
        self.choices += 1;
        if let Some(reason) = finish_reason.or(finish_reason_too) {
            self.add_reason(choice, &reason);
        }
        for part in calls {
            self.add_call(choice, part);
        }
    }

    fn add_call(&mut self, choice: u64, part: CallPart) {
        let (part_id, part_name) = (part.id.as_deref(), part.name.as_deref());
        // A fragment belongs to the latest call of its index. Services that leave the index out or at 0 start a new call
        // by a new id together with a name; an id alone is not enough, since some make one up for each fragment.
        let is_part = |call: &&mut Call| match part.by_id {
            true => call.call.id.as_deref() == part_id,
            false => call.choice == choice && call.index == part.index,
        };
        let known = self.calls.iter_mut().rev().find(is_part);
        if let Some(Call { call, .. }) = known.filter(|_| !part.whole)
            && (part_name.is_none() || part_id.is_none() || call.id.is_none() || call.id.as_deref() == part_id)
        {
            if let (None, Some(id)) = (&call.id, part_id) {
                call.id = self.keep.text(id);
                self.seen.news = true;
            }
            if let (true, Some(name)) = (call.name.is_empty(), part_name) {
                call.name = self.keep.text(name).unwrap_or_default();
                self.seen.news = true;
            }
            return;
        }
        // Fragments of a call that is known otherwise.
        if part.whole && part_name.is_none() {
            return;
        }
        if self.keep.entry(self.calls.len()) {
            let name = part_name.and_then(|name| self.keep.text(name)).unwrap_or_default();
            let call = ToolCall { name, id: part_id.and_then(|id| self.keep.text(id)) };
            self.calls.push(Call { choice, index: part.index, call });
        }
        self.seen.news = true;
    }

    fn usage(&mut self) -> Usage {
        let (mut usage, counts) = (self.usage, &self.counts);
        // Who states tokens does not bill pictures.
        usage.images = usage.images.filter(|_| usage.input.is_none() && usage.output.is_none());
        usage.cache_read = usage.cache_read.or(counts.cache_read_too);
        // What is billed is what counts; what was read and written is stated beside it.
        usage.input = counts.billed_input.or(sum(usage.input, counts.tool_input));
        usage.output = counts.billed_output.or(usage.output);
        if self.reasoning == Reasoning::Apart {
            let includes = counts.total.is_some() && counts.total == sum(usage.input, usage.output);
            usage.output = if includes { usage.output } else { sum(usage.output, usage.reasoning) };
        } else if let (Some(input), Some(output), Some(reasoning @ 1..)) = (usage.input, usage.output, usage.reasoning)
        {
            let on_top = input.saturating_add(output).saturating_add(reasoning);
            // The stated total proves whether the output includes reasoning; the service's habit decides without it.
            let additional = match counts.total {
                Some(total) => total == on_top,
                None => self.reasoning == Reasoning::Additional,
            };
            if additional {
                usage.output = Some(output.saturating_add(reasoning));
            }
        }
        usage
    }
}

/// The sum of what is stated; `None` when nothing is.
fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        _ => one.or(other),
    }
}

/// Modalities come in capitals, in small letters, or as numbers (`google.genai` `Modality`, 1 to 4).
fn modality(value: Scalar<'_>) -> Option<&'static str> {
    const NAMES: [&str; 4] = ["text", "image", "video", "audio"];
    match value {
        Scalar::Number(number) => NAMES.get(number.parse::<usize>().ok()?.checked_sub(1)?).copied(),
        _ => NAMES.into_iter().find(|name| value.str().is_some_and(|text| text.eq_ignore_ascii_case(name))),
    }
}

impl Sink<Field> for Answer {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        match field {
            F::Content => self.seen.content |= value.is_present(),
            F::Refusal if value.is_present() => {
                self.seen.content = true;
                self.seen.news |= !self.refused;
                self.refused = true;
            }
            F::Filtered => {
                self.seen.news |= value.bool() == Some(true) && !self.filtered;
                self.filtered |= value.bool() == Some(true);
            }
            F::Proof | F::OwnContent => {
                let told = matches!(value, Scalar::Opaque { .. } | Scalar::Text { .. });
                self.seen.news |= told && !self.fits;
                self.fits |= told;
                self.seen.content |= field == F::OwnContent && value.is_present();
            }
            F::Of(operation) if value.is_present() => {
                self.seen.content = true;
                self.name(operation);
            }
            F::Object => match value.str() {
                Some("chat.completion" | "chat.completion.chunk") => self.name(Operation::Chat),
                Some("text_completion") => self.name(Operation::TextCompletion),
                _ => {}
            },
            F::Kind => self.kind(value),
            F::CallOrKind => {
                self.kind(value);
                self.scalar(F::CallKind, value);
            }
            F::Id => self.first(|all| &mut all.id, value),
            F::OwnId => self.first(|all| &mut all.own_id, value),
            F::Model => self.first(|all| &mut all.model, value),
            F::ServiceTier => self.first(|all| &mut all.service_tier, value),
            F::Fingerprint => self.first(|all| &mut all.fingerprint, value),
            F::ChoiceIndex => self.choice.index = value.count(),
            F::FinishReason => self.finish_reason(value),
            F::FinishReasonToo => self.choice.finish_reason_too = value.str().map(str::to_owned),
            F::Status if !matches!(value.str(), Some("created" | "queued" | "in_progress")) => {
                self.finish_reason(value)
            }
            F::BlockReason => {
                self.fits = true;
                match value {
                    Scalar::Number(number) => self.block_reason = Some(number.to_owned()),
                    _ => self.first(|all| &mut all.block_reason, value),
                }
            }
            F::Done => {
                if let Some(done) = value.bool() {
                    self.seen.news |= !self.fits || self.done != done;
                    self.fits = true;
                    self.done = done;
                    self.ends |= done;
                }
            }
            F::CallKind | F::CallIndex | F::CallId | F::CallName => {
                let Some(part) = &mut self.call else { return };
                match field {
                    F::CallKind => part.foreign = !value.str().is_some_and(|kind| self.form.calls.contains(&kind)),
                    F::CallIndex => part.index = value.count().or(part.index),
                    F::CallId => part.id = value.str().map(str::to_owned).or(part.id.take()),
                    _ => part.name = value.str().map(str::to_owned),
                }
            }
            F::Count(counter) => self.count(counter, value),
            F::DetailModality => self.detail.modality = modality(value),
            F::DetailCount => self.detail.count = value.count(),
            F::Seconds => {
                if let Some(seconds) = value.float().filter(|seconds| (0.0..1e9).contains(seconds)) {
                    self.usage.audio_ms = Some((seconds * 1e3).round() as u64);
                    self.seen.news = true;
                }
            }
            F::Cost | F::CostTicks => {
                if let Some(cost) = value.float().filter(|cost| *cost >= 0.0) {
                    let cost = Some(if field == F::Cost { cost } else { cost / 1e10 });
                    self.seen.news |= self.cost != cost;
                    self.cost = cost;
                }
            }
            F::Logprob => {
                if let Some(logprob) = value.float() {
                    self.logprobs = (self.logprobs.0 + logprob, self.logprobs.1 + 1);
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
            (F::Root, Container::Object) => {
                self.is_object = true;
                self.choices = 0;
                if self.form.root_is_call {
                    self.call = Some(CallPart { by_id: true, foreign: true, ..CallPart::default() });
                }
            }
            (F::Picture, Container::Object) => self.usage.images = Some(self.usage.images.unwrap_or(0) + 1),
            (F::Proof, _) => self.fits = true,
            (F::Of(operation), _) => self.name(operation),
            (F::Choice, Container::Object) => {
                self.choice = Choice::default();
                self.in_choice = true;
            }
            (F::Content, Container::Object) => self.seen.content = true,
            (F::Calls, Container::Array) => self.position = 0,
            (F::Call, Container::Object) => {
                let foreign = !self.form.calls.is_empty();
                self.seen.content |= !foreign;
                self.call = Some(CallPart { index: Some(self.position), foreign, ..CallPart::default() });
                self.position += 1;
            }
            (F::WholeCall, Container::Object) => {
                let foreign = !self.form.calls.is_empty();
                self.call = Some(CallPart { whole: true, foreign, ..CallPart::default() });
            }
            (F::RepeatedCall, Container::Object) => {
                let foreign = !self.form.calls.is_empty();
                self.call = Some(CallPart { by_id: true, foreign, ..CallPart::default() });
            }
            (F::OldCall, Container::Object) => {
                self.seen.content = true;
                self.call = Some(CallPart::default());
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
            F::Choice => self.end_choice(),
            F::Call | F::WholeCall | F::RepeatedCall | F::OldCall => self.end_call(),
            F::Detail(side) => self.end_detail(side),
            F::Root if self.form.root_is_call => self.end_call(),
            _ => {}
        }
    }
}

impl ResponseReader for Answer {
    type Field = Field;

    fn shape(&self) -> &'static Shape<Field> {
        self.form.shape
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

    fn operation(&self) -> Option<Operation> {
        self.operation
    }

    fn finish(&mut self, call: &mut LlmCall) -> u64 {
        // The end of the body may have cut a call and its choice short.
        self.end_call();
        self.end_choice();
        call.usage = self.usage();
        call.provider_cost = self.cost.or(call.provider_cost);
        call.error = self.failure.error(call.response.status);
        let response = &mut call.response;
        response.id = self.id.take().or(self.own_id.take().filter(|_| self.fits));
        response.model = self.model.take();
        response.service_tier = self.service_tier.take();
        response.system_fingerprint = self.fingerprint.take();
        let finish = self.form.numbers.map(|numbers| (numbers.finish)(&call.provider)).unwrap_or_default();
        let reasons = self.finish_reasons.drain(..).map(|(_, reason)| Numbers::named(finish, reason));
        response.finish_reasons = reasons.collect();
        // A blocked prompt has no choices; the reason stands beside them.
        if response.finish_reasons.is_empty() {
            let block = self.form.numbers.map(|numbers| (numbers.block)(&call.provider));
            let reason = self.block_reason.take().map(|reason| Numbers::named(block.unwrap_or_default(), reason));
            response.finish_reasons.extend(reason);
        }
        response.tool_calls = self.calls.drain(..).map(|call| call.call).filter(|call| !call.name.is_empty()).collect();
        response.refused = self.refused;
        response.withheld = self.filtered.then_some(Withheld::Filter);
        let (logprobs, tokens) = self.logprobs;
        response.logprob_mean = (tokens > 0).then(|| logprobs / tokens as f64);
        self.keep.dropped
    }
}
