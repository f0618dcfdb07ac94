use super::*;
use crate::json::{Container, Scalar, Scanner};

fn attribution(yaml: &str) -> Attribution {
    Attribution::new(&serde_saphyr::from_str(yaml).unwrap())
}

fn told(found: &[Attributed]) -> Vec<(&str, &str)> {
    found.iter().map(|attributed| (attributed.name, &*attributed.value)).collect()
}

/// What a request states, its body cut at every place.
fn read(attribution: &Attribution, headers: &[(&str, &str)], body: &str) -> Vec<Attributed> {
    let headers: Headers = headers.iter().copied().collect();
    let whole = |cuts: &[usize]| {
        let mut reading = attribution.reading(&headers);
        let mut scanner = Scanner::new(reading.beside(&OWN));
        let (mut from, mut own) = (0, Own::default());
        for cut in cuts.iter().copied().chain([body.len()]) {
            scanner.push(&body.as_bytes()[from..cut], &mut reading.values(&mut own));
            from = cut;
        }
        (reading.finish(), own)
    };
    let found = whole(&[]);
    for cut in 0..=body.len() {
        assert_eq!(whole(&[cut]), found, "cut at {cut}");
    }
    // Its own reader finds what it finds alone.
    let mut own = Own::default();
    Scanner::new(&OWN).document(body.as_bytes(), &mut own);
    assert_eq!(found.1, own);
    found.0
}

/// A reader of requests, some of whose places are those of the rules.
const OWN: Shape<char> = Shape::container('r').members(&[
    ("model", Shape::value('m')),
    ("user", Shape::presence('u')),
    ("messages", Shape::container('l').items(&Shape::through().members(&[("content", Shape::text('t'))]))),
    ("team", Shape::container('o').members(&[("name", Shape::value('n'))])),
]);

#[derive(Debug, Default, PartialEq)]
struct Own(Vec<(char, String)>);

impl Sink<char> for Own {
    fn scalar(&mut self, field: char, value: Scalar<'_>) {
        let text = match (field, value) {
            ('u', value) => value.is_present().to_string(),
            (_, Scalar::Opaque { empty }) => empty.to_string(),
            (_, value) => value.str().unwrap_or_default().to_owned(),
        };
        self.0.push((field, text));
    }
    fn open(&mut self, field: char, container: Container) {
        self.0.push((field, format!("{container:?}")));
    }
    fn close(&mut self, field: char) {
        self.0.push((field, String::new()));
    }
    fn text(&mut self, _: char, piece: &[u8]) {
        match self.0.last_mut() {
            Some(('t', text)) => text.push_str(&String::from_utf8_lossy(piece)),
            _ => self.0.push(('t', String::from_utf8_lossy(piece).into_owned())),
        }
    }
}

#[test]
fn the_built_in_rules_find_what_services_know_users_by() {
    let built_in = Attribution::default();
    let found = read(&built_in, &[], r#"{"model":"m","user":"u1","messages":[{"user":"no"}]}"#);
    assert_eq!(told(&found), [("user.id", "u1")]);
    let found = read(&built_in, &[], r#"{"metadata":{"user_id":"u2","session_id":"s","feature":"search","x":{}}}"#);
    assert_eq!(told(&found), [("user.id", "u2"), ("session.id", "s"), ("llmtap.feature", "search")]);
    let headers = [("X-Tenant-ID", "blue"), ("openai-organization", "org"), ("x-request-id", "r"), ("x-user-id", "")];
    let found = read(&built_in, &headers, r#"{"user":"u1","safety_identifier":"hash"}"#);
    assert_eq!(told(&found), [("user.id", "hash"), ("llmtap.tenant", "blue"), ("llmtap.client.request_id", "r")]);
    assert_eq!(read(&built_in, &[], r#"{"user":null,"metadata":"text"}"#), []);
    assert_eq!(read(&built_in, &[], "not JSON"), []);
}

#[test]
fn the_first_source_that_states_a_value_wins() {
    let rules = attribution(
        "{defaults: false, rules: [{attribute: app.team, metric_values: 2,
          from: [{header: x-team}, {body: team.name}, {baggage: team}, {env: TEAM}, {body: number}]}]}",
    );
    let environment = [("TEAM".to_owned(), "from-env".to_owned())];
    let all = |headers: &[(&str, &str)], body: &str, environment: &[(String, String)]| {
        let mut found = read(&rules, headers, body);
        rules.complete(&mut found, environment);
        assert!(found.iter().all(|found| found.metric_values == Some(2)));
        told(&found).iter().map(|(_, value)| (*value).to_owned()).collect::<Vec<_>>()
    };
    let body = r#"{"number": 7, "team": {"name": "from-body"}}"#;
    let baggage = ("baggage", "other=x;p=1, team=from%20baggage;p=2");
    assert_eq!(all(&[("x-team", "from-header"), baggage], body, &environment), ["from-header"]);
    assert_eq!(all(&[baggage], body, &environment), ["from-body"]);
    assert_eq!(all(&[baggage], "{}", &environment), ["from baggage"]);
    assert_eq!(all(&[], r#"{"number": 7}"#, &environment), ["from-env"]);
    assert_eq!(all(&[], r#"{"number": 7}"#, &[]), ["7"]);
    assert_eq!(all(&[("baggage", "team=%zz")], "{}", &[]), Vec::<String>::new());
}

#[test]
fn values_are_bounded_and_plain() {
    let rules = Attribution::default();
    let long = "é".repeat(300);
    let found = read(&rules, &[("x-tenant-id", &long)], &format!(r#"{{"user":"{long}"}}"#));
    assert_eq!(found.iter().map(|found| found.value.len()).collect::<Vec<_>>(), [MAX_VALUE, MAX_VALUE]);
    assert_eq!(read(&rules, &[("x-tenant-id", "a\u{1b}[31m")], r#"{"user":"a\nb"}"#), []);
    assert!(!format!("{:?}", read(&rules, &[("x-tenant-id", "blue")], "{}")).contains("blue"));
}

#[test]
fn forms_have_members_too() {
    let rules = Attribution::default();
    let mut reading = rules.reading(&Headers::default());
    let part = |name: &'static str, value: &'static str| Part {
        name: name.into(),
        file_name: None,
        value: Some(value.into()),
        bytes: None,
    };
    reading.part(&part("user", "u1"));
    reading.part(&part("prompt", "no"));
    assert_eq!(told(&reading.finish()), [("user.id", "u1")]);
}

#[test]
fn equal_rules_share_their_shapes() {
    let rules = || attribution("rules: [{attribute: a.b, from: [{body: c.d}, {body: c}]}]");
    let [one, other] = [rules(), rules()].map(|rules| std::ptr::from_ref(rules.0.body.beside(&OWN)));
    assert_eq!(one, other);
    assert_eq!(told(&read(&rules(), &[], r#"{"c": "plain"}"#)), [("a.b", "plain")]);
    assert_eq!(told(&read(&rules(), &[], r#"{"c": {"d": 1.5}}"#)), [("a.b", "1.5")]);
}
