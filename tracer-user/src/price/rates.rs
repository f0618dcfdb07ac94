//! Rates of one model and which of them apply to a call.

use std::collections::BTreeMap;

/// USD per million tokens, except the two fees. Absent means that no price is known.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    pub input: Option<f64>,
    pub output: Option<f64>,
    pub cache_read: Option<f64>,
    /// A cache write with the provider's shorter life (5 minutes at Anthropic).
    pub cache_write: Option<f64>,
    pub cache_write_1h: Option<f64>,
    pub input_audio: Option<f64>,
    pub output_audio: Option<f64>,
    /// USD per 1,000 web searches.
    pub web_search: Option<f64>,
    /// USD per 1,000 requests.
    pub request: Option<f64>,
}

impl Rates {
    /// The names of the rates in a price file, in the order in which the table writes them.
    pub const NAMES: [&str; 9] = [
        "input",
        "output",
        "cache_read",
        "cache_write",
        "cache_write_1h",
        "input_audio",
        "output_audio",
        "web_search",
        "request",
    ];

    pub fn values(&self) -> [Option<f64>; 9] {
        [
            self.input,
            self.output,
            self.cache_read,
            self.cache_write,
            self.cache_write_1h,
            self.input_audio,
            self.output_audio,
            self.web_search,
            self.request,
        ]
    }

    /// The field that a price file calls `name`.
    pub fn field(&mut self, name: &str) -> Option<&mut Option<f64>> {
        Some(match name {
            "input" => &mut self.input,
            "output" => &mut self.output,
            "cache_read" => &mut self.cache_read,
            "cache_write" => &mut self.cache_write,
            "cache_write_1h" => &mut self.cache_write_1h,
            "input_audio" => &mut self.input_audio,
            "output_audio" => &mut self.output_audio,
            "web_search" => &mut self.web_search,
            "request" => &mut self.request,
            _ => return None,
        })
    }

    /// These rates where stated, else those of `base`.
    pub fn or(&self, base: &Rates) -> Rates {
        Rates {
            input: self.input.or(base.input),
            output: self.output.or(base.output),
            cache_read: self.cache_read.or(base.cache_read),
            cache_write: self.cache_write.or(base.cache_write),
            cache_write_1h: self.cache_write_1h.or(base.cache_write_1h),
            input_audio: self.input_audio.or(base.input_audio),
            output_audio: self.output_audio.or(base.output_audio),
            web_search: self.web_search.or(base.web_search),
            request: self.request.or(base.request),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.values().iter().all(Option::is_none)
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
    /// Factor on all rates for calls that must be processed in one region.
    pub regional: Option<f64>,
    /// By service tier: `batch`, `flex`, `priority`, `fast`, ….
    pub tiers: BTreeMap<String, Band>,
}

impl Prices {
    /// Rates of a service tier for a prompt of `input` tokens at a time in nanoseconds since the Unix epoch; `None` when the tier has no price of its own, or none for so
    /// long a prompt. Where a tier leaves a rate out, the standard rate holds: OpenAI's batch price list, for example, has
    /// no cached-input column.
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
