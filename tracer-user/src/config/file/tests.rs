use std::{cell::RefCell, collections::BTreeMap, collections::BTreeSet, time::Duration};

use super::{
    deserialize::At,
    exporters::{OtlpProtocol, OtlpSignal},
    tree::Kind,
    *,
};

const EXAMPLE: &str = include_str!("../../../../deploy/llmtap.yaml");

fn parse(text: &str) -> Result<File, String> {
    let environment = |name: &str| match name {
        "PORT" => Some("9464".to_owned()),
        "TOKEN" => Some("t0ps3cret".to_owned()),
        _ => None,
    };
    File::parse(text, &environment).map_err(|error| error.to_string())
}

/// Keys that are commented out are written `#key: …` or `#- …`; what is told about them begins with `# `.
fn with_all_keys(example: &str) -> String {
    let line = |line: &str| {
        let (space, rest) = line.split_at(line.len() - line.trim_start().len());
        match rest.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| !c.is_whitespace() && c != '#') => format!("{space}{key}\n"),
            _ => format!("{line}\n"),
        }
    };
    example.lines().map(line).collect()
}

#[test]
fn the_example_is_valid_as_it_is_and_with_every_key() {
    File::parse(EXAMPLE, &|_| None).unwrap();
    File::parse(&with_all_keys(EXAMPLE), &|_| Some("1".to_owned())).unwrap();
}

#[test]
fn the_example_shows_every_key() {
    let node = Node::parse(&with_all_keys(EXAMPLE), &|_| Some("1".to_owned())).unwrap();
    assert_eq!(hollow(&node), Vec::<u64>::new(), "lines with nothing below");
    let visits = RefCell::default();
    File::deserialize(At::watched(&node, &visits)).unwrap();
    let mut shown: BTreeMap<_, (BTreeSet<_>, BTreeSet<String>)> = BTreeMap::new();
    for (name, fields, keys) in visits.into_inner() {
        let (known, found) = shown.entry((name, fields)).or_default();
        known.extend(fields.iter().map(|field| (*field).to_owned()));
        found.extend(keys);
    }
    assert!(shown.len() >= 10, "structures are not seen: {shown:?}");
    for ((name, _), (known, found)) in shown {
        assert_eq!(known, found, "{name}");
    }
}

/// Lines of values under which a structure could hide.
fn hollow(node: &Node) -> Vec<u64> {
    match &node.kind {
        Kind::Null => vec![node.line],
        Kind::List(list) if list.is_empty() => vec![node.line],
        Kind::Map(entries) if entries.is_empty() => vec![node.line],
        Kind::List(list) => list.iter().flat_map(hollow).collect(),
        Kind::Map(entries) => entries.iter().flat_map(|(.., node)| hollow(node)).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn nothing_is_a_file_of_defaults() {
    for text in ["", "# only this\n\n", "select:\nexporters:\n  otlp:\n", "{}"] {
        assert_eq!(parse(text), Ok(File::default()), "{text:?}");
    }
}

#[test]
fn values_and_variables_become_what_the_key_wants() {
    let file = parse(
        "exporters:\n  otlp:\n    - endpoint: http://localhost:${env:PORT}\n      protocol: http/json\n      timeout: 3s\n      \
         headers: {authorization: 'Bearer ${env:TOKEN}'}\n      signals: [traces]\nplaintext: {ports: ['${env:PORT}', \
         8000]}\nserver_side: ${env:NONE:-true}\nlimits: {ring: 32MiB}\nlog: {level: debug}\n",
    )
    .unwrap();
    let otlp = &file.exporters.otlp[0];
    assert_eq!(otlp.endpoint, "http://localhost:9464");
    assert_eq!((otlp.protocol, otlp.timeout), (Some(OtlpProtocol::HttpJson), Duration::from_secs(3)));
    assert_eq!(
        (otlp.headers["authorization"].as_str(), &*otlp.signals),
        ("Bearer t0ps3cret", &[OtlpSignal::Traces][..])
    );
    assert_eq!((file.plaintext.ports, file.server_side, file.limits.ring), (vec![9464, 8000], true, 32 << 20));
    assert!(!format!("{:?}", file.exporters).contains("t0ps3cret"));
}

#[test]
fn problems_are_told_with_place_and_hint() {
    for (text, expected) in [
        ("selct: {}\n", "line 1: selct: unknown key; did you mean `select`?"),
        (
            "exporters:\n  otlp:\n    - endpoint: http://x:1\n      header: {a: b}\n",
            "line 4: exporters.otlp[0].header: unknown key; did you mean `headers`?",
        ),
        ("exporters:\n  otlp:\n    - protocol: grpc\n", "line 3: exporters.otlp[0].endpoint: is needed"),
        ("select:\n  include:\n    - pod: x\n", "line 3: select.include[0].pod: unknown key; did you mean `pid`?"),
        (
            "exporters: {otlp: [{endpoint: http://x:1, protocol: udp}]}\n",
            "line 1: exporters.otlp[0].protocol: use `grpc`, `http/protobuf` or `http/json`",
        ),
        ("limits:\n  ring: lots\n", "line 2: limits.ring: give a size: 512KiB, 64MiB or 1GiB"),
        ("limits: {ring: 3MiB}\n", "limits.ring: give a power of two from 64KiB to 1GiB"),
        ("plaintext: {ports: [70000]}\n", "line 1: plaintext.ports[0]: expected u16, found another number"),
        (
            "log:\n  level: ${env:NONE}\n",
            "line 2: log.level: the variable NONE is not set: set it, or write ${env:NONE:-default}",
        ),
        ("select: {include: [{}]}\n", "select.include[0]: names nothing: give a key, or `all: true`"),
        (
            "select: {include: [{exe: '[a'}]}\n",
            "line 1: select.include[0].exe: not a glob: unclosed character class; missing ']'",
        ),
        ("health: yes please\n", "line 1: health: expected struct Health, found text"),
    ] {
        assert_eq!(parse(text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn what_is_no_yaml_is_told_in_one_line() {
    for text in ["select: [\n", "a: b: c\n", "select: {}\nselect: {}\n", "- a\n", "select: *x\n"] {
        let told = parse(text).unwrap_err();
        assert!(!told.contains('\n') && told.len() < 160, "{told}");
    }
}

#[test]
fn no_problem_tells_a_value() {
    for text in [
        "log: {level: '${env:TOKEN}'}\n",
        "limits: {ring: '${env:TOKEN}'}\n",
        "limits: {connections: '${env:TOKEN}'}\n",
        "select: {include: [{exe: '[${env:TOKEN}'}]}\n",
        "select: {include: [{exe: {regex: '(${env:TOKEN}'}}]}\n",
        "exporters: {otlp: [{endpoint: x, headers: t0ps3cret}]}\n",
        "exporters: {otlp: ${env:TOKEN}}\n",
        "select: '${env:TOKEN}'\n",
    ] {
        let told = parse(text).unwrap_err();
        assert!(!told.contains("t0ps3cret"), "{told}");
    }
}
