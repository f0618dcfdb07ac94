//! From what an answer counts to what it costs: disjoint quantities, each times its rate.

use super::{
    amount::Amount,
    rates::{Rate, Rates},
};
use crate::llm::call::{LlmCall, Operation, Usage};

/// Disjoint counts of what is billed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quantities {
    /// All input tokens, cache included: what long-prompt steps go by.
    input: u64,
    text: u64,
    audio: u64,
    image: u64,
    /// `None` when the answer says nothing of a cache.
    cached: Option<Cached>,
    written: Option<Written>,
    /// `None` when the answer has no output tokens.
    output: Option<Output>,
    /// Pictures and milliseconds of audio that are billed as such: of an answer that states no tokens.
    pictures: u64,
    audio_ms: u64,
    search_units: u64,
    web_searches: u64,
    file_searches: u64,
}

/// Tokens that were read from a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cached {
    text: u64,
    audio: u64,
    image: u64,
}

/// Tokens that were written to a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Written {
    short: u64,
    hour: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Output {
    text: u64,
    reasoning: u64,
    audio: u64,
    image: u64,
}

/// What a call costs, by its parts. Factors of contracts are not in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bill {
    pub input: Amount,
    pub output: Option<Amount>,
    pub cache_read: Option<Amount>,
    pub cache_write: Option<Amount>,
    /// Fees that are not by the token.
    pub fees: Amount,
}

impl Quantities {
    /// `None` unless everything that is billed is stated: a sum that leaves a side out would be too small and look
    /// right.
    pub fn of(call: &LlmCall) -> Option<Self> {
        let usage: &Usage = &call.usage;
        let fees = Self {
            search_units: usage.search_units.unwrap_or(0),
            web_searches: usage.web_searches.unwrap_or(0),
            file_searches: usage.file_searches.unwrap_or(0),
            ..Self::default()
        };
        let Some(input) = usage.input else {
            // Without tokens, what is billed is the piece: pictures, audio by its length, search units.
            let pieces = Self { pictures: usage.images.unwrap_or(0), audio_ms: usage.audio_ms.unwrap_or(0), ..fees };
            let by_piece = usage.images.or(usage.audio_ms).or(usage.search_units).is_some();
            return (by_piece && usage.output.is_none()).then_some(pieces);
        };
        // Embeddings and reranking have no output tokens; an answer of theirs that states none is whole.
        let no_output = matches!(call.operation, Operation::Embeddings | Operation::Rerank);
        if usage.output.is_none() && !no_output {
            return None;
        }
        let cached = usage.cache_read.map(|all| Cached::new(all, usage));
        let written = usage.cache_write.map(|all| {
            let hour = usage.cache_write_1h.unwrap_or(0).min(all);
            Written { short: all - hour, hour }
        });
        let in_cache = usage.cache_read.unwrap_or(0).saturating_add(usage.cache_write.unwrap_or(0));
        let (audio, image) = {
            let beside = |stated: Option<u64>, cached: u64| stated.unwrap_or(0).saturating_sub(cached);
            let audio = beside(usage.input_audio, cached.map_or(0, |cached| cached.audio));
            let image = beside(usage.input_image, cached.map_or(0, |cached| cached.image));
            // Where the answer does not say what of the cached was audio, what exceeds the sum must have been: it is billed
            // as cached.
            let over = in_cache.saturating_add(audio).saturating_add(image).saturating_sub(input);
            (audio.saturating_sub(over), image.saturating_sub(over.saturating_sub(audio)))
        };
        let text = input.saturating_sub(in_cache).saturating_sub(audio).saturating_sub(image);
        let output = usage.output.map(|all| Output::new(all, usage));
        Some(Self { input, text, audio, image, cached, written, output, ..fees })
    }

    /// Input tokens as a long-prompt step sees them: xAI's begins at its threshold, everyone else's after it.
    pub fn threshold(&self, provider: &str) -> u64 {
        if provider == "x_ai" { self.input.saturating_add(1) } else { self.input }
    }

    /// The error names the first rate that is missing for something that was used.
    pub fn bill(&self, rates: &Rates) -> Result<Bill, &'static str> {
        let at = |count: u64, choices: &[Rate]| by_token(rates, count, choices);
        // What a provider publishes no special price for, it bills as the plain kind.
        let input = at(self.text, &[Rate::Input])?
            + at(self.audio, &[Rate::InputAudio, Rate::Input])?
            + at(self.image, &[Rate::InputImage, Rate::Input])?;
        let cache_read = match self.cached {
            None => None,
            Some(Cached { text, audio, image }) => Some(
                at(text, &[Rate::CacheRead, Rate::Input])?
                    + at(audio, &[Rate::CacheReadAudio, Rate::CacheRead, Rate::Input])?
                    + at(image, &[Rate::CacheReadImage, Rate::CacheRead, Rate::Input])?,
            ),
        };
        let cache_write = match self.written {
            None => None,
            Some(Written { short, hour }) => Some(
                at(short, &[Rate::CacheWrite, Rate::Input])?
                    + at(hour, &[Rate::CacheWrite1h, Rate::CacheWrite, Rate::Input])?,
            ),
        };
        let output = match self.output {
            None => None,
            // A model with a price for pictures only makes nothing else.
            Some(Output { text, reasoning, audio, image }) => Some(
                at(text, &[Rate::Output, Rate::OutputImage])?
                    + at(reasoning, &[Rate::Reasoning, Rate::Output])?
                    + at(audio, &[Rate::OutputAudio, Rate::Output])?
                    + at(image, &[Rate::OutputImage, Rate::Output])?,
            ),
        };
        let pieces = [
            (self.pictures, Rate::Image, 1.0),
            (self.audio_ms, Rate::AudioMinute, 60_000.0),
            (self.search_units, Rate::SearchUnit, 1e3),
            (self.web_searches, Rate::WebSearch, 1e3),
            (self.file_searches, Rate::FileSearch, 1e3),
            (u64::from(rates[Rate::Request].is_some()), Rate::Request, 1e3),
        ];
        let mut fees = Amount::default();
        for (count, rate, per) in pieces {
            if count > 0 {
                fees = fees + Amount::of(count, rates[rate].ok_or(name(rate))?, per);
            }
        }
        Ok(Bill { input, output, cache_read, cache_write, fees })
    }
}

impl Cached {
    fn new(all: u64, usage: &Usage) -> Self {
        let audio = usage.cache_read_audio.unwrap_or(0).min(all);
        let image = usage.cache_read_image.unwrap_or(0).min(all - audio);
        Self { text: all - audio - image, audio, image }
    }
}

impl Output {
    fn new(all: u64, usage: &Usage) -> Self {
        let audio = usage.output_audio.unwrap_or(0).min(all);
        let image = usage.output_image.unwrap_or(0).min(all - audio);
        let reasoning = usage.reasoning.unwrap_or(0).min(all - audio - image);
        Self { text: all - audio - image - reasoning, reasoning, audio, image }
    }
}

impl Bill {
    pub fn total(&self) -> Amount {
        let parts = [self.output, self.cache_read, self.cache_write];
        parts.into_iter().flatten().fold(self.input + self.fees, |sum, part| sum + part)
    }

    /// The parts by the token times a factor.
    pub fn scale_tokens(&mut self, factor: f64) {
        self.input = self.input.times(factor);
        for part in [&mut self.output, &mut self.cache_read, &mut self.cache_write] {
            *part = part.map(|part| part.times(factor));
        }
    }

    /// All parts times a factor.
    pub fn scale(&mut self, factor: f64) {
        self.scale_tokens(factor);
        self.fees = self.fees.times(factor);
    }
}

/// Tokens at the first of the rates that is stated. No tokens cost nothing whether or not a rate is known.
fn by_token(rates: &Rates, count: u64, choices: &[Rate]) -> Result<Amount, &'static str> {
    if count == 0 {
        return Ok(Amount::default());
    }
    let price = choices.iter().find_map(|rate| rates[*rate]);
    price.map(|price| Amount::of(count, price, 1e6)).ok_or_else(|| choices.last().map_or("", |rate| name(*rate)))
}

fn name(rate: Rate) -> &'static str {
    Rates::NAMES[rate as usize]
}
