//! Sends a planned response as its directive times and ends it, and notes what left and when.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    directive::{Directive, End, Framing},
    encoding::Encoder,
    http1::Request,
    plan::{self, Body, Plan, Stated, Step},
    reply::{Afterwards, BodyEnd, Reply},
    truth::{Ended, Truth, now},
};

/// How the playing of a body came to its end, when it was not the normal one.
enum Stop {
    /// As the directive wants.
    Scripted,
    /// The connection broke, or the client closed it.
    Broken,
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

pub async fn play(
    reply: &mut impl Reply,
    request: &Request,
    directive: &Directive,
    plan: Plan,
    truth: &mut Truth,
) -> Afterwards {
    reply.split(directive.split);
    truth.status = reply.stated_status(plan.status);
    truth.encoding = directive.encoding.header().map(str::to_owned);
    let mut player = Player {
        reply,
        directive,
        truth,
        pack: None,
        due: None,
        batch: Vec::new(),
        batched: 0,
        batched_content: false,
        stated: Vec::new(),
    };
    let outcome = player.respond(request, plan).await;
    truth.response_bytes = reply.written();
    let afterwards = match outcome {
        Ok(afterwards) => afterwards,
        Err(Stop::Scripted) => {
            let (ended, afterwards) = reply.break_off(directive.end, Duration::from_millis(directive.stall_ms)).await;
            truth.ended = ended;
            afterwards
        }
        Err(Stop::Broken) => {
            truth.ended = Ended::ClientGone;
            Afterwards::Drop
        }
    };
    truth.times.end = now();
    afterwards
}

struct Player<'a, R> {
    reply: &'a mut R,
    directive: &'a Directive,
    truth: &'a mut Truth,
    /// Makes of an event what leaves, where that is no text.
    pack: Option<fn(&str) -> Vec<u8>>,
    /// When the next event with content is due: a schedule, so that delays do not add up.
    due: Option<Instant>,
    /// Events that wait for their common write.
    batch: Vec<u8>,
    batched: u32,
    /// Whether content is among them.
    batched_content: bool,
    /// What the waiting events state.
    stated: Vec<Stated>,
}

impl<R: Reply> Player<'_, R> {
    async fn respond(&mut self, request: &Request, mut plan: Plan) -> Result<Afterwards, Stop> {
        let directive = self.directive;
        if let Body::Packed { stream, pack } = plan.body {
            self.pack = Some(pack);
            plan.body = *stream;
        }
        self.pause(Duration::from_micros(directive.delay_us)).await?;
        let keep_alive =
            directive.keep_alive && request.wants_keep_alive() && directive.framing != Some(Framing::Close);
        let afterwards = if keep_alive { Afterwards::KeepAlive } else { Afterwards::Close };
        let mut headers = vec![("date", "Sat, 21 Nov 2026 00:00:00 GMT".to_owned())];
        let stream = matches!(plan.body, Body::Stream { .. });
        if stream {
            headers.push(("cache-control", "no-cache".to_owned()));
        }
        if !plan.headers.iter().any(|(name, _)| *name == "content-type") {
            let usual = if stream { "text/event-stream; charset=utf-8" } else { "application/json" };
            headers.push(("content-type", usual.to_owned()));
        }
        headers.extend(plan.headers);
        if let Some(coding) = directive.encoding.header() {
            headers.push(("content-encoding", coding.to_owned()));
        }
        let http_1_0 = request.version == 0;
        match plan.body {
            // What is packed twice is nothing that a provider sends.
            Body::Packed { .. } => return Err(Stop::Broken),
            Body::Whole { bytes, states } => {
                // A whole answer comes when all of it has been generated.
                let generation = directive.ttft_us + directive.interval_us * u64::from(directive.tokens.unwrap_or(8));
                self.pause(Duration::from_micros(generation)).await?;
                let mut encoder = Encoder::new(directive.encoding)?;
                let mut body = encoder.push(&bytes, false)?;
                body.extend(encoder.finish()?);
                let end = match directive.framing {
                    Some(Framing::Close) => BodyEnd::Close,
                    Some(Framing::Chunked) if !http_1_0 => BodyEnd::Chunked,
                    _ => BodyEnd::Length(body.len() as u64),
                };
                self.head(plan.status, &headers, keep_alive, end).await?;
                if !matches!(directive.end, End::Normal | End::Error) {
                    self.reply.body(&body[..body.len() / 2]).await?;
                    return Err(Stop::Scripted);
                }
                if request.method != "HEAD" {
                    self.reply.body(&body).await?;
                }
                states.apply(self.truth);
                self.reply.finish().await?;
            }
            Body::Stream { steps, keep_alive_event, failure } => {
                let close = http_1_0 || directive.framing == Some(Framing::Close);
                let end = if close { BodyEnd::Close } else { BodyEnd::Chunked };
                self.head(plan.status, &headers, keep_alive, end).await?;
                let mut encoder = Encoder::new(directive.encoding)?;
                let outcome = self.steps(&mut encoder, &steps, &keep_alive_event).await;
                match outcome {
                    Err(Stop::Scripted) if directive.end == End::Error => {
                        if let Step::Event { text, states, .. } = *failure {
                            self.event(&mut encoder, &text, false, Some(states)).await?;
                        }
                        self.truth.ended = Ended::ErrorEvent;
                    }
                    other => other?,
                }
                self.flush(&mut encoder).await?;
                let rest = encoder.finish()?;
                self.reply.body(&rest).await?;
                self.reply.finish().await?;
                if close {
                    return Ok(Afterwards::Close);
                }
            }
        }
        Ok(afterwards)
    }

    async fn head(
        &mut self,
        status: u16,
        headers: &[(&str, String)],
        keep_alive: bool,
        end: BodyEnd,
    ) -> io::Result<()> {
        self.truth.times.first_byte = now();
        self.reply.head(status, headers, keep_alive, end).await
    }

    async fn steps(&mut self, encoder: &mut Encoder, steps: &[Step], keep_alive_event: &str) -> Result<(), Stop> {
        let total: u64 = steps
            .iter()
            .map(|step| match step {
                Step::Words { count, .. } => u64::from(*count),
                Step::Event { content, .. } => u64::from(*content),
            })
            .sum();
        let stop_after = match self.directive.end {
            End::Normal => None,
            _ => Some(self.directive.after.map_or(total / 2, u64::from).min(total)),
        };
        let mut sent = 0;
        for step in steps {
            match step {
                Step::Words { before, after, count } => {
                    let mut text = String::with_capacity(before.len() + after.len() + 16);
                    for index in 0..*count {
                        self.before_content(encoder, keep_alive_event, sent, stop_after).await?;
                        text.clear();
                        text.push_str(before);
                        text.push_str(plan::word(index));
                        text.push_str(after);
                        self.event(encoder, &text, true, None).await?;
                        sent += 1;
                    }
                }
                Step::Event { text, content, states } => {
                    if *content {
                        self.before_content(encoder, keep_alive_event, sent, stop_after).await?;
                        sent += 1;
                    } else if total > 0 && sent == total && stop_after == Some(sent) {
                        self.flush(encoder).await?;
                        return Err(Stop::Scripted);
                    }
                    self.event(encoder, text, *content, Some(states.clone())).await?;
                }
            }
        }
        Ok(())
    }

    /// Waits until the next event with content is due, unless the script ends before it.
    async fn before_content(
        &mut self,
        encoder: &mut Encoder,
        keep_alive_event: &str,
        sent: u64,
        stop_after: Option<u64>,
    ) -> Result<(), Stop> {
        if stop_after == Some(sent) {
            self.flush(encoder).await?;
            return Err(Stop::Scripted);
        }
        let directive = self.directive;
        let wait = if sent == 0 { directive.ttft_us } else { directive.interval_us };
        if wait > 0 {
            self.flush(encoder).await?;
            let due = self.due.unwrap_or_else(Instant::now) + Duration::from_micros(wait);
            self.due = Some(due);
            self.pause(due.saturating_duration_since(Instant::now())).await?;
        } else if sent == 0 {
            self.due = Some(Instant::now());
        }
        if directive.pings > 0 && sent.is_multiple_of(u64::from(directive.pings)) {
            self.event(encoder, keep_alive_event, false, None).await?;
        }
        Ok(())
    }

    async fn event(
        &mut self,
        encoder: &mut Encoder,
        text: &str,
        content: bool,
        states: Option<Stated>,
    ) -> Result<(), Stop> {
        self.truth.events += 1;
        if content {
            self.truth.content_events += 1;
        }
        self.stated.extend(states);
        let converted;
        let event = if let Some(pack) = self.pack {
            converted = pack(text);
            &converted
        } else if self.directive.crlf {
            converted = text.replace('\n', "\r\n").into_bytes();
            &converted
        } else {
            text.as_bytes()
        };
        if self.directive.batch <= 1 {
            return self.send(encoder, event, content).await;
        }
        self.batch.extend_from_slice(event);
        self.batched += 1;
        self.batched_content |= content;
        // The first content goes out at once: its time is a figure.
        let first = content && self.truth.times.first_token == 0;
        if first || self.batched >= self.directive.batch { self.flush(encoder).await } else { Ok(()) }
    }

    async fn flush(&mut self, encoder: &mut Encoder) -> Result<(), Stop> {
        self.batched = 0;
        let content = std::mem::take(&mut self.batched_content);
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() { Ok(()) } else { self.send(encoder, &batch, content).await }
    }

    /// Without compression the event goes out as it is; with it, the coder may hold it back.
    async fn send(&mut self, encoder: &mut Encoder, data: &[u8], content: bool) -> Result<(), Stop> {
        let packed;
        let data = if matches!(encoder, Encoder::Identity) {
            data
        } else {
            packed = encoder.push(data, self.directive.flush)?;
            &packed
        };
        let at = now();
        self.reply.body(data).await?;
        if content {
            let times = &mut self.truth.times;
            if times.first_token == 0 {
                times.first_token = at;
            }
            times.last_token = at;
        }
        for stated in self.stated.drain(..) {
            stated.apply(self.truth);
        }
        Ok(())
    }

    async fn pause(&mut self, duration: Duration) -> Result<(), Stop> {
        if duration.is_zero() {
            return Ok(());
        }
        Ok(self.reply.pause(duration).await?)
    }
}
