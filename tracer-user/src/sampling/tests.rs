use std::{sync::Arc, time::Duration};

use super::*;
use crate::span::{
    Parent, Resource,
    ids::SpanId,
    record::SAMPLED,
    samples::{MS, T0},
};

/// A trace whose randomness is this many sixteenths of the whole.
fn trace(sixteenths: u8, number: u8) -> TraceId {
    let mut id = [0; 16];
    (id[0], id[1], id[9]) = (1, number, sixteenths << 4);
    TraceId(id)
}

fn call(trace_id: TraceId) -> SpanRecord {
    let resource = Resource { attributes: vec![(semconv::SERVICE_NAME.into(), "shop".into())] };
    SpanRecord {
        trace_id,
        span_id: SpanId([1; 8]),
        parent: None,
        flags: SAMPLED,
        trace_state: None,
        name: "chat".into(),
        kind: Kind::Client,
        start: T0,
        end: T0 + 1000 * MS,
        status: Status::Unset,
        attributes: vec![
            (semconv::REQUEST_MODEL, "gpt-5-mini".into()),
            (semconv::RESPONSE_MODEL, "gpt-5-mini-2026".into()),
            (semconv::COST_TOTAL, 0.01.into()),
        ],
        links: Vec::new(),
        resource: Arc::new(resource),
    }
}

fn failed(span: SpanRecord) -> SpanRecord {
    SpanRecord { status: Status::Error, ..span }
}

fn under(span: SpanRecord, remote: bool) -> SpanRecord {
    SpanRecord { parent: Some(Parent { span_id: SpanId([9; 8]), remote }), ..span }
}

fn root(trace_id: TraceId) -> SpanRecord {
    let attributes = vec![(semconv::SYNTHESIZED, true.into())];
    SpanRecord { name: "invoke_agent".into(), kind: Kind::Internal, attributes, ..call(trace_id) }
}

fn options(yaml: &str) -> Options {
    serde_saphyr::from_str(yaml).unwrap()
}

/// Names and states of what is kept, in order.
fn kept(sampler: &mut Sampler, spans: impl IntoIterator<Item = SpanRecord>) -> Vec<(String, Option<String>)> {
    let mut kept = Vec::new();
    for span in spans {
        let keeps = sampler.keeps(&span);
        let before = kept.len();
        sampler.push(span, &mut kept);
        assert!(!keeps || kept.len() > before);
    }
    kept.into_iter().map(|span| (span.name.to_string(), span.trace_state)).collect()
}

fn sampler(yaml: &str) -> Sampler {
    Sampler::new(&options(yaml), Limits::default())
}

fn names(kept: &[(String, Option<String>)]) -> Vec<&str> {
    kept.iter().map(|(name, _)| name.as_str()).collect()
}

fn state(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn thresholds_are_those_of_the_specification() {
    for (ratio, expected) in [
        (1.0, "0"),
        (0.5, "8"),
        (1.0 / 3.0, "aaab"),
        (0.25, "c"),
        (0.2, "cccd"),
        (0.125, "e"),
        (0.1, "e666"),
        (0.0625, "f"),
        (0.01, "fd70a"),
        (0.001, "ffbe77"),
        (0.0001, "fff9724"),
        (0.00001, "ffff583a"),
        (0.000001, "ffffef39"),
    ] {
        let threshold = Ratio::new(ratio).unwrap().threshold().unwrap();
        let digits = format!("{threshold:014x}");
        let digits = digits.trim_end_matches('0');
        assert_eq!(if digits.is_empty() { "0" } else { digits }, expected, "{ratio}");
    }
    assert_eq!(Ratio::new(0.0).unwrap().threshold(), None);
    assert_eq!(Ratio::new(1e-300).unwrap().threshold(), Some(options::MAX_THRESHOLD));
    for bad in [-0.1, 1.1, f64::NAN] {
        assert_eq!(Ratio::new(bad), None);
    }
}

#[test]
fn the_default_keeps_all_and_writes_nothing() {
    let mut sampler = Sampler::default();
    let all = [call(trace(0, 1)), SpanRecord { trace_state: state("a=b"), ..call(trace(15, 2)) }];
    assert_eq!(kept(&mut sampler, all), [("chat".to_owned(), None), ("chat".to_owned(), state("a=b"))]);
    assert_eq!(kept(&mut sampler, [SpanRecord { flags: 0, ..call(trace(15, 3)) }]), []);
    assert_eq!(sampler.sampled_out(), SampledOut { parent: 1, ..SampledOut::default() });
}

#[test]
fn a_ratio_keeps_the_upper_part_of_all_traces() {
    let mut sampler = sampler("ratio: 0.25");
    let told = kept(&mut sampler, (0..16).map(|sixteenths| call(trace(sixteenths, 1))));
    assert_eq!(told, vec![("chat".to_owned(), state("ot=th:c")); 4]);
    assert_eq!(sampler.sampled_out(), SampledOut { ratio: 12, ..SampledOut::default() });
}

#[test]
fn rules_keep_what_matters() {
    let all = |yaml: &str, span: SpanRecord| kept(&mut sampler(yaml), [span]);
    let (low, rest) = (trace(0, 1), "\nratio: 0.01");
    let zero = [("chat".to_owned(), state("ot=th:0"))];
    for (yaml, fitting) in [
        ("rules: [{error: true}]", failed(call(low))),
        ("rules: [{aborted: true}]", {
            let mut aborted = call(low);
            aborted.attributes.push((semconv::ABORTED, true.into()));
            aborted
        }),
        ("rules: [{slower_than: 999ms}]", call(low)),
        ("rules: [{dearer_than: 0.009}]", call(low)),
        ("rules: [{model: 'gpt-5*'}]", call(low)),
        ("rules: [{model: '*-2026', service: shop}]", call(low)),
        ("rules: [{error: true}, {service: s?op}]", call(low)),
    ] {
        assert_eq!(all(&format!("{yaml}{rest}"), fitting), zero, "{yaml}");
    }
    for yaml in [
        "rules: [{error: true}]",
        "rules: [{aborted: true}]",
        "rules: [{slower_than: 1s}]",
        "rules: [{dearer_than: 0.01}]",
        "rules: [{model: 'gpt-5'}]",
        "rules: [{model: 'gpt-5*', service: other}]",
        "rules: [{model: 'gpt-5*', ratio: 0.5}, {model: '*'}]",
    ] {
        assert_eq!(all(&format!("{yaml}{rest}"), call(low)), [], "{yaml}");
    }
}

#[test]
fn the_head_is_asked_first_but_not_of_others_traces() {
    let yaml = "{head_ratio: 0.5, rules: [{error: true}], ratio: 0.25}";
    let mut sampler = sampler(yaml);
    assert_eq!(kept(&mut sampler, [failed(call(trace(7, 1)))]), []);
    assert_eq!(kept(&mut sampler, [failed(call(trace(8, 1)))]), [("chat".to_owned(), state("ot=th:8"))]);
    assert_eq!(kept(&mut sampler, [call(trace(12, 1))]), [("chat".to_owned(), state("ot=th:c"))]);
    // Its program samples by means that nobody knows: kept by the rule, with no threshold.
    assert_eq!(kept(&mut sampler, [under(failed(call(trace(0, 1))), true)]), [("chat".to_owned(), None)]);
    let stated = |state_text: &str, sixteenths| SpanRecord {
        trace_state: state(state_text),
        ..under(failed(call(trace(sixteenths, 1))), true)
    };
    assert_eq!(kept(&mut sampler, [stated("ot=th:4,a=b", 5)]), [("chat".to_owned(), state("ot=th:4,a=b"))]);
    // Its own randomness contradicts its threshold.
    assert_eq!(kept(&mut sampler, [stated("ot=th:8,a=b", 5)]), [("chat".to_owned(), state("a=b"))]);
    // Stated randomness goes before the id, and the ratio of the rest holds for it.
    let stated = |text: &str| SpanRecord { trace_state: state(text), ..under(call(trace(15, 1)), true) };
    assert_eq!(kept(&mut sampler, [stated("ot=th:1;rv:b0000000000000")]), []);
    let told = kept(&mut sampler, [stated("ot=th:1;rv:c0000000000000")]);
    assert_eq!(told, [("chat".to_owned(), state("ot=th:c;rv:c0000000000000"))]);
    assert_eq!(sampler.sampled_out(), SampledOut { head: 1, ratio: 1, ..SampledOut::default() });
}

#[test]
fn a_turn_with_one_kept_call_is_kept_whole() {
    let mut sampler = sampler("{rules: [{error: true}], ratio: 0.25}");
    let low = trace(0, 1);
    let tool = |trace_id| SpanRecord { name: "execute_tool".into(), ..under(root(trace_id), false) };
    let turn = |id, second: SpanRecord| [under(call(id), false), tool(id), under(second, false), root(id)];
    // No call is kept: neither is what was concluded from them.
    assert_eq!(kept(&mut sampler, turn(low, call(low))), []);
    assert_eq!(sampler.sampled_out().ratio, 4);
    // The second call fails: what waited comes with it, its probability unknown, and the root by the lowest threshold.
    let told = kept(&mut sampler, turn(low, failed(call(low))));
    assert_eq!(names(&told), ["chat", "execute_tool", "chat", "invoke_agent"]);
    assert_eq!(
        told.iter().map(|(_, state)| state.clone()).collect::<Vec<_>>(),
        [None, None, state("ot=th:0"), state("ot=th:0")]
    );
    // The trace's randomness keeps all.
    let high = trace(15, 1);
    let told = kept(&mut sampler, turn(high, call(high)));
    assert_eq!(told.iter().filter(|(_, told)| *told == state("ot=th:c")).count(), 4);
    assert_eq!(sampler.sampled_out().ratio, 4);
    let decisions = sampler.decisions.as_ref().unwrap();
    assert!(decisions.turns.is_empty() && decisions.held_bytes == 0);
}

#[test]
fn what_waits_is_bounded() {
    let options = options("{rules: [{error: true}], ratio: 0.25}");
    let weight = call(trace(0, 0)).weight();
    let mut sampler = Sampler::new(&options, Limits { traces: 3, held_bytes: 2 * weight });
    let turns: Vec<TraceId> = (0..5).map(|number| trace(0, number)).collect();
    assert_eq!(kept(&mut sampler, turns.iter().map(|id| under(call(*id), false))), []);
    assert_eq!(sampler.sampled_out(), SampledOut { no_room: 3, ..SampledOut::default() });
    // Only two still wait.
    let told = kept(&mut sampler, turns[3..].iter().map(|id| under(failed(call(*id)), false)));
    assert_eq!(told.len(), 4);
    for number in 0..100 {
        kept(&mut sampler, [under(call(trace(0, number)), false), root(trace(0, number))]);
    }
    let decisions = sampler.decisions.as_ref().unwrap();
    assert!(decisions.order.len() <= 6 && decisions.turns.len() <= 3);
    sampler.finish();
    assert!(sampler.decisions.as_ref().unwrap().turns.is_empty());
}

#[test]
fn mistakes_of_configuration_are_told() {
    let error = |yaml: &str| serde_saphyr::from_str::<Options>(yaml).unwrap_err().to_string();
    assert!(error("ratio: 2").contains("from 0 to 1"));
    assert!(error("ratios: 1").contains("ratios"));
    assert!(error("rules: [{errors: true}]").contains("errors"));
    assert!(error("rules: [{slower_than: fast}]").contains("30s"));
    assert!(error("rules: [{model: '['}]").contains("glob"));
    assert_eq!(options("rules: [{slower_than: 5m}]").rules[0].slower_than, Some(Duration::from_secs(300)));
}

#[test]
fn options_change_while_turns_go_on() {
    let mut sampler = sampler("ratio: 0.25");
    let low = trace(0, 1);
    assert_eq!(kept(&mut sampler, [under(call(low), false)]), []);
    let mut released = Vec::new();
    // What waits is decided by the new rules.
    sampler.set_options(&options("{rules: [{error: true}], ratio: 0.25}"), &mut released);
    assert!(released.is_empty());
    assert_eq!(kept(&mut sampler, [under(failed(call(low)), false)]).len(), 2);
    let other = trace(0, 2);
    assert_eq!(kept(&mut sampler, [under(call(other), false)]), []);
    sampler.set_options(&Options::default(), &mut released);
    assert_eq!(released.len(), 1);
    assert_eq!(kept(&mut sampler, [root(other)]), [("invoke_agent".to_owned(), None)]);
    assert_eq!(sampler.sampled_out(), SampledOut::default());
}
