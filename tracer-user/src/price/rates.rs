//! Rates of one model and which of them apply to a call.

use std::{
    collections::BTreeMap,
    ops::{Index, IndexMut},
};

/// What a rate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    Input,
    Output,
    CacheRead,
    /// A cache write with the provider's shorter life (5 minutes at Anthropic).
    CacheWrite,
    CacheWrite1h,
    InputAudio,
    InputImage,
    OutputAudio,
    OutputImage,
    CacheReadAudio,
    CacheReadImage,
    /// The part of the output that is reasoning, where it costs something else.
    Reasoning,
    /// One picture, where the answer states no tokens.
    Image,
    /// A minute of audio, where the answer states no tokens.
    AudioMinute,
    /// 1,000 web searches that the service ran.
    WebSearch,
    /// 1,000 file searches that the service ran.
    FileSearch,
    /// 1,000 search units of a reranker.
    SearchUnit,
    /// 1,000 requests.
    Request,
}

const RATES: usize = 18;

/// USD (or the price file's currency) per million tokens, except where [`Rate`] says otherwise. Absent means that no
/// price is known.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates([Option<f64>; RATES]);

impl Rates {
    /// The names of the rates in a price file, in the order of [`Rate`], in which the table writes them.
    pub const NAMES: [&str; RATES] = [
        "input",
        "output",
        "cache_read",
        "cache_write",
        "cache_write_1h",
        "input_audio",
        "input_image",
        "output_audio",
        "output_image",
        "cache_read_audio",
        "cache_read_image",
        "reasoning",
        "image",
        "audio_minute",
        "web_search",
        "file_search",
        "search_unit",
        "request",
    ];

    /// Those of them that are by the token.
    pub const BY_TOKEN: usize = 12;

    pub fn values(&self) -> [Option<f64>; RATES] {
        self.0
    }

    /// The field that a price file calls `name`.
    pub fn field(&mut self, name: &str) -> Option<&mut Option<f64>> {
        let at = Self::NAMES.iter().position(|known| *known == name)?;
        self.0.get_mut(at)
    }

    /// These rates where stated, else those of `base`.
    pub fn or(&self, base: &Rates) -> Rates {
        Rates(std::array::from_fn(|at| self.0[at].or(base.0[at])))
    }

    /// These rates by the token times `factor`; of others none.
    pub fn scaled(&self, factor: impl Fn(f64) -> f64) -> Rates {
        Rates(std::array::from_fn(|at| self.0[at].filter(|_| at < Self::BY_TOKEN).map(&factor)))
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

impl Index<Rate> for Rates {
    type Output = Option<f64>;

    fn index(&self, rate: Rate) -> &Option<f64> {
        &self.0[rate as usize]
    }
}

impl IndexMut<Rate> for Rates {
    fn index_mut(&mut self, rate: Rate) -> &mut Option<f64> {
        &mut self.0[rate as usize]
    }
}

/// Rates, and those that take their place for long prompts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Band {
    pub rates: Rates,
    /// By total input tokens, cache included: a prompt of **more** than this many tokens pays these rates for **all** of
    /// its tokens. Ascending.
    pub above: Vec<(u64, Rates)>,
}

impl Band {
    /// Rates for a prompt of `input` tokens. What a long-prompt step does not state stays as below it.
    fn rates(&self, input: u64) -> Rates {
        self.above.iter().filter(|(tokens, _)| input > *tokens).fold(self.rates, |rates, (_, step)| step.or(&rates))
    }

    fn is_above(&self, input: u64) -> bool {
        self.above.iter().any(|(tokens, _)| input > *tokens)
    }
}

/// Part of a week, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// Bit 0 is Monday.
    pub days: u8,
    /// Minutes since midnight; `from` is in it and `to`, up to 1440, is not.
    pub from: u16,
    pub to: u16,
}

impl Hours {
    pub const ALL_DAYS: u8 = 0b111_1111;

    /// Reads `04:00-06:00`; an end of `00:00` is midnight at the end of the day.
    pub fn parse(days: u8, span: &str) -> Option<Self> {
        let minutes = |clock: &str| {
            let (hours, minutes) = clock.trim().split_once(':')?;
            let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
            (hours <= 24 && minutes < 60).then_some(hours * 60 + minutes).filter(|all| *all <= 1440)
        };
        let (from, to) = span.split_once('-')?;
        let (from, to) = (minutes(from)?, minutes(to)?);
        Some(Self { days, from, to: if to == 0 { 1440 } else { to } })
    }

    /// `nanos` since the Unix epoch, which was a Thursday.
    fn holds(&self, nanos: u64) -> bool {
        let minutes = nanos / 60_000_000_000;
        let (day, minute) = ((minutes / 1440 + 3) % 7, (minutes % 1440) as u16);
        let within = if self.from <= self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        };
        self.days & (1 << day) != 0 && within
    }
}

/// Rates of the quieter hours.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OffPeak {
    pub rates: Rates,
    pub hours: Vec<Hours>,
}

/// Prices of one model at one provider.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prices {
    pub base: Band,
    pub off_peak: Option<OffPeak>,
    /// Factor on the rates by the token for calls that must be processed in one region.
    pub regional: Option<f64>,
    /// By service tier: `batch`, `flex`, `priority`, `fast`, ….
    pub tiers: BTreeMap<String, Band>,
}

impl Prices {
    /// Rates of a service tier for a prompt of `input` tokens at a time in nanoseconds since the Unix epoch; `None` when the
    /// tier has no price of its own, or none for so long a prompt. Where a tier leaves a rate out, the standard rate holds:
    /// OpenAI's batch price list, for example, has no cached-input column.
    pub fn rates(&self, tier: Option<&str>, input: u64, at: u64) -> Option<Rates> {
        let base = self.base.rates(input);
        let Some(tier) = tier else {
            let quiet = self.off_peak.as_ref().filter(|quiet| quiet.hours.iter().any(|hours| hours.holds(at)));
            return Some(quiet.map_or(base, |quiet| quiet.rates.or(&base)));
        };
        let band = self.tiers.get(tier)?;
        if band.above.is_empty() && self.base.is_above(input) {
            return None;
        }
        Some(band.rates(input).or(&base))
    }
}

/// One row of a table: which models it prices.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// `gen_ai.provider.name`; `None` is any provider.
    pub provider: Option<String>,
    /// Names or patterns in lower case; `*` stands for any characters.
    pub models: Vec<String>,
    pub prices: Prices,
}
