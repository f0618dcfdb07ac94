//! Words and figures for a terminal: nothing that came from the wire may drive it, and everything fits its cell.

use crate::price::Currency;
use unicode_width::UnicodeWidthChar;

/// What stands for a value that is not known.
pub const ABSENT: &str = "–";

/// `text` with everything taken out that moves the cursor, colours, reorders or hides: control characters, escape
/// sequences, direction overrides (Unicode Technical Report 36), invisible and line-breaking characters. At most `max`
/// characters are kept.
pub fn clean(text: &str, max: usize) -> String {
    let mut marks = 0;
    let mut clean = String::with_capacity(text.len().min(max));
    for (kept, c) in text.chars().enumerate() {
        if kept == max {
            clean.push('…');
            break;
        }
        match c {
            c if is_unsafe(c) => clean.push('\u{fffd}'),
            c => match c.width() {
                // Two accents on a letter are language, twenty are an attack on the line above.
                Some(0) => {
                    marks += 1;
                    if marks <= 2 && !clean.is_empty() {
                        clean.push(c);
                    }
                    continue;
                }
                Some(_) => clean.push(c),
                None => clean.push('\u{fffd}'),
            },
        }
        marks = 0;
    }
    clean
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fe00}'..='\u{fe0f}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
            | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}')
}

/// Columns that `text` takes on a terminal. `text` is clean.
pub fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// `text` cut to `cells` columns, with `…` where something is missing.
pub fn cut(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > cells {
            break;
        }
        used += wide;
        cut.push(c);
    }
    if cells > 0 {
        cut.push('…');
    }
    cut
}

/// Appends `text` cut to `cells` columns and padded to them, on the right unless `right` aligns it there.
pub fn pad(out: &mut String, text: &str, cells: usize, right: bool) {
    let text = cut(text, cells);
    let space = cells.saturating_sub(width(&text));
    if right {
        spaces(out, space);
    }
    out.push_str(&text);
    if !right {
        spaces(out, space);
    }
}

pub fn spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

/// `1048576` as `1,048,576`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The exact number where `cells` columns hold it, else `104k`, `1.05M`.
pub fn count(number: u64, cells: usize) -> String {
    let exact = grouped(number);
    if exact.len() <= cells {
        return exact;
    }
    let scaled = |unit: f64, suffix: char| {
        let value = number as f64 / unit;
        let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
        format!("{value:.digits$}{suffix}")
    };
    match number {
        0..1_000_000 => scaled(1e3, 'k'),
        1_000_000..1_000_000_000 => scaled(1e6, 'M'),
        _ => scaled(1e9, 'G'),
    }
}

/// Nanoseconds as people say them, in at most 6 columns: `4.2ms`, `412ms`, `3.81s`, `38.1s`, `2m05s`, `3h12m`.
pub fn duration(nanos: u64) -> String {
    let millis = nanos as f64 / 1e6;
    let seconds = nanos / 1_000_000_000;
    match nanos {
        ..9_950_000 => format!("{millis:.1}ms"),
        9_950_000..999_500_000 => format!("{millis:.0}ms"),
        999_500_000..9_995_000_000 => format!("{:.2}s", millis / 1e3),
        9_995_000_000..99_950_000_000 => format!("{:.1}s", millis / 1e3),
        99_950_000_000..3_600_000_000_000 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// Money: `$12.30`, `$0.0431`, below a tenth of a cent two significant digits, or as many as fit. Another currency has no
/// sign; its code follows where there is room for any.
pub fn money(amount: f64, cells: usize, currency: Option<Currency>) -> String {
    let Some(currency) = currency else { return usd(amount, cells) };
    let figure = usd(amount, cells).replace('$', "");
    if cells == usize::MAX { format!("{figure} {}", currency.as_str()) } else { figure }
}

pub fn usd(amount: f64, cells: usize) -> String {
    if amount == 0.0 {
        return "$0".to_owned();
    }
    if amount >= 1e6 {
        return format!("${}", grouped(amount.round() as u64));
    }
    if amount >= 9.995 {
        return format!("${amount:.2}");
    }
    if amount >= 0.000_995 {
        return format!("${amount:.4}");
    }
    // Zeros between the point and the first digit that counts.
    let zeros = (-amount.log10()).floor().clamp(0.0, 12.0) as usize;
    let candidates = [zeros + 2, zeros + 1].map(|digits| format!("${amount:.digits$}"));
    candidates.into_iter().find(|text| text.len() <= cells).unwrap_or_else(|| {
        let short = format!("${amount:.4}");
        if short == "$0.0000" { "<$.0001".to_owned() } else { short }
    })
}

/// Tokens per second.
pub fn rate(per_second: f64) -> String {
    if per_second < 99.95 { format!("{per_second:.1}") } else { format!("{per_second:.0}") }
}

/// `4.1 kB`.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        ..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// `1 call`, `2 calls`.
pub fn plural(count: u64, one: &str) -> String {
    format!("{} {one}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// Time of day, from nanoseconds since the Unix epoch and seconds east of Greenwich.
pub fn clock(nanos: u64, offset: i32, millis: bool) -> String {
    let seconds = (nanos / 1_000_000_000) as i64 + i64::from(offset);
    let day = seconds.rem_euclid(86_400);
    let text = format!("{:02}:{:02}:{:02}", day / 3600, day / 60 % 60, day % 60);
    if millis { format!("{text}.{:03}", nanos / 1_000_000 % 1000) } else { text }
}

/// How a piece of text stands out, on a terminal that shows colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Strong,
    Dim,
    Good,
    Bad,
    Warning,
    Name,
}

impl Tone {
    /// Select Graphic Rendition parameters (ECMA-48 section 8.3.117).
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Warning => "33",
            Self::Name => "36",
        }
    }
}

/// Writes tones, or leaves them out.
#[derive(Debug, Clone, Copy)]
pub struct Paint(pub bool);

impl Paint {
    pub fn push(self, out: &mut String, tone: Tone, text: &str) {
        // Blank cells need no colour; golden files stay readable.
        if !self.0 || tone == Tone::Plain || text.trim().is_empty() {
            out.push_str(text);
        } else {
            out.extend(["\u{1b}[", tone.code(), "m", text, "\u{1b}[0m"]);
        }
    }
}
