//! The sums of all metrics, bounded in number, and copies of them for who exports.

use std::{collections::BTreeMap, sync::Arc};

use crate::span::{
    Resource,
    ids::{SpanId, TraceId},
    semconv::{
        self,
        metric::{Kind, Metric},
    },
};

/// Series of one metric over all services. What comes past it goes into one series a service that says
/// `otel.metric.overflow`: the rule and the number of OpenTelemetry's SDKs.
pub const MAX_SERIES: usize = 2000;

/// Services told apart. Past it calls count for a service without a name.
pub const MAX_SERVICES: usize = 500;

/// Longest value of an attribute, in bytes: values come from the wire.
const MAX_VALUE: usize = 256;

/// The value of an attribute of a series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    Text(Arc<str>),
    Int(i64),
    Bool(bool),
}

impl From<&str> for Label {
    fn from(text: &str) -> Self {
        let mut end = text.len().min(MAX_VALUE);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Self::Text(text[..end].into())
    }
}

/// In a fixed order, each name once.
pub type Attributes = Vec<(&'static str, Label)>;

/// A call that stands for others in the same bucket or sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exemplar {
    pub value: f64,
    /// Nanoseconds since the Unix epoch.
    pub at: u64,
    pub trace_id: TraceId,
    pub span_id: SpanId,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Point {
    Number {
        value: f64,
        exemplar: Option<Exemplar>,
    },
    Histogram {
        sum: f64,
        /// By bucket; the last is above all bounds.
        counts: [u64; 15],
        /// The latest of each bucket.
        exemplars: Box<[Option<Exemplar>; 15]>,
    },
}

impl Point {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Histogram(_) => Self::Histogram { sum: 0.0, counts: [0; 15], exemplars: Box::default() },
            _ => Self::Number { value: 0.0, exemplar: None },
        }
    }

    /// What came since `before`, the same series earlier. `None` when nothing did.
    fn since(&self, before: &Self) -> Option<Self> {
        match (self, before) {
            (Self::Number { value, exemplar }, Self::Number { value: earlier, exemplar: old }) => {
                let exemplar = exemplar.filter(|_| exemplar != old);
                (value != earlier).then(|| Self::Number { value: value - earlier, exemplar })
            }
            (
                Self::Histogram { sum, counts, exemplars },
                Self::Histogram { sum: earlier, counts: fewer, exemplars: old },
            ) => {
                let mut exemplars = exemplars.clone();
                for (new, old) in exemplars.iter_mut().zip(&**old) {
                    if new == old {
                        *new = None;
                    }
                }
                let mut new = *counts;
                for (new, old) in new.iter_mut().zip(fewer) {
                    *new -= old;
                }
                (counts != fewer).then_some(Self::Histogram { sum: sum - earlier, counts: new, exemplars })
            }
            _ => Some(self.clone()),
        }
    }
}

/// Place of a service in [`Snapshot::resources`].
pub type Service = usize;

/// llmtap's own resource.
pub const OWN: Service = 0;

/// One series of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub service: Service,
    pub attributes: Arc<Attributes>,
    pub point: Point,
}

/// All sums at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Nanoseconds since the Unix epoch: since when the sums count.
    pub since: u64,
    /// Likewise, of what is told as what came since an earlier moment.
    pub since_delta: u64,
    pub at: u64,
    pub resources: Vec<Arc<Resource>>,
    /// In the order of [`Metric::ALL`], those with series only; series by service and attributes.
    pub metrics: Vec<(Metric, Vec<Series>)>,
}

impl Snapshot {
    /// Of the metrics that `is_delta` holds for, what came since `before`; the others as they are.
    #[must_use]
    pub fn delta(&self, before: &Self, is_delta: impl Fn(&Metric) -> bool) -> Self {
        let metrics = self.metrics.iter().filter_map(|(metric, series)| {
            if !is_delta(metric) {
                return Some((*metric, series.clone()));
            }
            let old = before.metrics.iter().find(|(other, _)| other.index == metric.index);
            let mut old = old.map(|(_, series)| series.as_slice()).unwrap_or_default().iter().peekable();
            let mut new = Vec::new();
            // Both stand in the same order, and no series ever goes.
            for series in series {
                let same = |old: &&Series| old.service == series.service && old.attributes == series.attributes;
                let point = match old.next_if(same) {
                    Some(old) => series.point.since(&old.point),
                    None => Some(series.point.clone()),
                };
                new.extend(point.map(|point| Series { point, ..series.clone() }));
            }
            (!new.is_empty()).then_some((*metric, new))
        });
        let since_delta = if before.at == 0 { self.since } else { before.at };
        Self { metrics: metrics.collect(), since_delta, resources: self.resources.clone(), ..*self }
    }
}

/// The sums themselves.
#[derive(Debug)]
pub struct Store {
    metrics: Vec<BTreeMap<(Service, Arc<Attributes>), Point>>,
    resources: Vec<Arc<Resource>>,
    max_series: usize,
}

impl Store {
    /// `own` is llmtap's own resource, `other` that of services past the cap.
    pub fn new(own: Resource, other: Resource) -> Self {
        Self::with_cap(own, other, MAX_SERIES)
    }

    pub(super) fn with_cap(own: Resource, other: Resource, max_series: usize) -> Self {
        let metrics = Metric::ALL.iter().map(|_| BTreeMap::new()).collect();
        Self { metrics, resources: vec![Arc::new(own), Arc::new(other)], max_series }
    }

    /// The service with this resource.
    pub fn service(&mut self, resource: Resource) -> Service {
        const OTHER: Service = 1;
        if let Some(known) = self.resources.iter().skip(2).position(|known| **known == resource) {
            return known + 2;
        }
        if self.resources.len() - 2 >= MAX_SERVICES {
            return OTHER;
        }
        self.resources.push(Arc::new(resource));
        self.resources.len() - 1
    }

    fn point(&mut self, metric: &Metric, service: Service, attributes: Attributes) -> &mut Point {
        let series = &mut self.metrics[metric.index];
        let mut key = (service, Arc::new(attributes));
        if series.len() >= self.max_series && !series.contains_key(&key) {
            key.1 = Arc::new(vec![(semconv::METRIC_OVERFLOW, Label::Bool(true))]);
        }
        series.entry(key).or_insert_with(|| Point::new(metric.kind))
    }

    /// Counts a number of things, or one measurement.
    pub fn add(
        &mut self,
        metric: &Metric,
        service: Service,
        attributes: Attributes,
        value: f64,
        exemplar: Option<Exemplar>,
    ) {
        let exemplar = exemplar.map(|exemplar| Exemplar { value, ..exemplar });
        match (self.point(metric, service, attributes), metric.kind) {
            (Point::Number { value: sum, exemplar: last }, _) => {
                *sum += value;
                *last = exemplar.or(*last);
            }
            (Point::Histogram { sum, counts, exemplars }, Kind::Histogram(bounds)) => {
                let bucket = bounds.partition_point(|bound| *bound < value);
                *sum += value;
                counts[bucket] += 1;
                exemplars[bucket] = exemplar.or(exemplars[bucket]);
            }
            (Point::Histogram { .. }, _) => {}
        }
    }

    /// Adds measurements that are already counted by bucket.
    pub fn merge(&mut self, metric: &Metric, service: Service, attributes: Attributes, more: (f64, &[u32; 15])) {
        if let Point::Histogram { sum, counts, .. } = self.point(metric, service, attributes) {
            *sum += more.0;
            for (count, more) in counts.iter_mut().zip(more.1) {
                *count += u64::from(*more);
            }
        }
    }

    /// States what is now, or what a counter kept elsewhere has come to.
    pub fn set(&mut self, metric: &Metric, service: Service, attributes: Attributes, now: f64) {
        if let Point::Number { value, .. } = self.point(metric, service, attributes) {
            *value = now;
        }
    }

    /// Before all series of a metric are stated anew: those that are not are 0.
    pub fn clear(&mut self, metric: &Metric) {
        for point in self.metrics[metric.index].values_mut() {
            *point = Point::new(metric.kind);
        }
    }

    /// A copy, `since` and `at` left to the caller.
    pub fn snapshot(&self) -> Snapshot {
        let metrics = Metric::ALL.iter().zip(&self.metrics).filter(|(_, series)| !series.is_empty());
        let metrics = metrics.map(|(metric, series)| {
            let series = series.iter().map(|((service, attributes), point)| Series {
                service: *service,
                attributes: Arc::clone(attributes),
                point: point.clone(),
            });
            (*metric, series.collect())
        });
        Snapshot { resources: self.resources.clone(), metrics: metrics.collect(), ..Snapshot::default() }
    }
}
