//! The scanner against a full parse of the same documents.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Root,
    Name,
    Count,
    Known,
    Prose,
    List,
    Item,
    Deep,
    Short,
}

const SHORT_BYTES: u32 = 6;
const ITEM: Shape<Field> = Shape::value(Field::Item)
    .members(&[("name", Shape::value(Field::Name)), ("text", Shape::text(Field::Prose))])
    .items(&Shape::text(Field::Deep));
const ROOT: Shape<Field> = Shape::container(Field::Root)
    .members(&[
        ("name", Shape::value(Field::Name)),
        ("count", Shape::value(Field::Count)),
        ("known", Shape::presence(Field::Known)),
        ("text", Shape::text(Field::Prose)),
        ("list", Shape::container(Field::List).items(&ITEM)),
        ("a\"b\u{e9}", Shape::through().members(&[("name", Shape::value(Field::Deep)), ("list", ITEM)])),
        ("short", Shape { take: Take::Value(SHORT_BYTES), ..Shape::value(Field::Short) }),
    ])
    .items(&ITEM);

#[derive(Debug, Clone, PartialEq)]
enum Told {
    Scalar(Field, String),
    Open(Field, Container),
    Close(Field),
    Text(Field, Vec<u8>),
}

#[derive(Debug, Default, PartialEq)]
struct Log(Vec<Told>);

impl Sink<Field> for Log {
    fn scalar(&mut self, field: Field, value: Scalar<'_>) {
        let value = match value {
            Scalar::Text { value, cut } => format!("text {cut} {value}"),
            other => format!("{other:?}"),
        };
        self.0.push(Told::Scalar(field, value));
    }

    fn open(&mut self, field: Field, container: Container) {
        self.0.push(Told::Open(field, container));
    }

    fn close(&mut self, field: Field) {
        self.0.push(Told::Close(field));
    }

    fn text(&mut self, field: Field, piece: &[u8]) {
        match self.0.last_mut() {
            Some(Told::Text(last, text)) if *last == field => text.extend_from_slice(piece),
            _ => self.0.push(Told::Text(field, piece.to_vec())),
        }
    }
}

/// What the scanner must tell about `value`, by a walk over the parsed tree.
fn expect(shape: Option<&'static Shape<Field>>, value: &Value, log: &mut Log) {
    let Some(shape) = shape else { return };
    let scalar = |log: &mut Log, scalar: Scalar<'_>| {
        if let (Some(field), true) = (shape.field, shape.take != Take::Skip) {
            log.scalar(field, scalar);
        }
    };
    match value {
        Value::Null => scalar(log, Scalar::Null),
        Value::Bool(value) => scalar(log, Scalar::Bool(*value)),
        Value::Number(number) => scalar(log, Scalar::Number(&number.to_string())),
        Value::String(text) => match (shape.take, shape.field) {
            (Take::Value(_), _) => scalar(log, Scalar::Text { value: text, cut: false }),
            (Take::Text, Some(field)) => {
                if !text.is_empty() {
                    log.text(field, text.as_bytes());
                }
                scalar(log, Scalar::Opaque { empty: text.is_empty() });
            }
            _ => scalar(log, Scalar::Opaque { empty: text.is_empty() }),
        },
        Value::Array(items) => {
            shape.field.into_iter().for_each(|field| log.open(field, Container::Array));
            items.iter().for_each(|item| expect(shape.items, item, log));
            shape.field.into_iter().for_each(|field| log.close(field));
        }
        Value::Object(members) => {
            shape.field.into_iter().for_each(|field| log.open(field, Container::Object));
            for (key, value) in members {
                expect(shape.member(key.as_bytes()), value, log);
            }
            shape.field.into_iter().for_each(|field| log.close(field));
        }
    }
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-z\"\\\\/\u{8}\n\t é€😀\u{0}\u{7f}]{0,12}",
        "[ -~]{50,90}".prop_map(|text| text + "😀\u{d7ff}\u{e000}"),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["name", "count", "known", "text", "list", "a\"b\u{e9}"]).prop_map(str::to_owned),
        1 => string(),
    ]
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        // Quarters: serde_json reads them back as they were.
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 4.0)),
        string().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec((key(), inner), 0..7).prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

/// Writes a document in one of the many ways that mean the same: `style` decides on white space and escapes.
fn write(value: &Value, style: &mut impl FnMut() -> u8, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                out.push_str(["", "", " ", "\n", "\r\n\t "][usize::from(style() % 5)]);
                write(item, style, out);
            }
            out.push_str(["", " "][usize::from(style() % 2)]);
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, value)) in members.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write_string(key, style, out);
                out.push_str([":", " :", ": "][usize::from(style() % 3)]);
                write(value, style, out);
            }
            out.push_str(["", " "][usize::from(style() % 2)]);
            out.push('}');
        }
        Value::String(text) => write_string(text, style, out),
        other => out.push_str(&other.to_string()),
    }
}

fn write_string(text: &str, style: &mut impl FnMut() -> u8, out: &mut String) {
    out.push('"');
    for letter in text.chars() {
        match (letter, style() % 8) {
            (_, 0) | ('\0'..' ', 1..4) => {
                let mut units = [0; 2];
                for unit in letter.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            ('/', 1..4) => out.push_str("\\/"),
            ('"' | '\\' | '\0'..' ', _) => {
                let escaped = serde_json::to_string(&letter).unwrap();
                out.push_str(&escaped[1..escaped.len() - 1]);
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
}

/// Scans a document in pieces that end at `cuts`.
fn scan(document: &[u8], cuts: &[usize]) -> (Ending, Log) {
    let (mut scanner, mut log) = (Scanner::new(&ROOT), Log::default());
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (document.len() + 1)).chain([0, document.len()]).collect();
    cuts.sort_unstable();
    cuts.windows(2).for_each(|cut| scanner.push(&document[cut[0]..cut[1]], &mut log));
    (scanner.finish(&mut log), log)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tells_what_a_full_parse_tells(
        value in document(),
        style in prop::collection::vec(any::<u8>(), 1..64),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let mut style = style.iter().copied().cycle();
        let mut text = String::new();
        write(&value, &mut || style.next().unwrap(), &mut text);
        // What was written must mean the same to serde_json, or the test would compare two mistakes.
        prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), &value);
        let mut expected = Log::default();
        expect(Some(&ROOT), &value, &mut expected);
        let (ending, log) = scan(text.as_bytes(), &cuts);
        prop_assert_eq!(ending, Ending::Complete);
        prop_assert_eq!(log, expected, "{}", text);
    }

    #[test]
    fn a_beginning_is_truncated_and_tells_a_beginning(value in document(), at in any::<usize>()) {
        let text = Value::Array(vec![value]).to_string();
        let at = at % text.len();
        let (whole, log) = scan(text.as_bytes(), &[]);
        let (ending, cut) = scan(&text.as_bytes()[..at], &[]);
        prop_assert_eq!(whole, Ending::Complete);
        prop_assert_eq!(ending, if at == 0 { Ending::Empty } else { Ending::Truncated });
        // The last thing told may be the beginning of a text.
        let told = cut.0.len().saturating_sub(1);
        prop_assert_eq!(&log.0[..told], &cut.0[..told]);
    }

    #[test]
    fn hostile_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz(&bytes);
    }

    #[test]
    fn damaged_documents_do_no_harm(value in document(), step in any::<u8>(), at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = value.to_string().into_bytes();
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes.insert(0, step);
        fuzz(&bytes);
    }
}

#[test]
fn says_what_is_no_json() {
    for bad in [
        "<html>",
        "{]",
        "[}",
        "{\"a\"}",
        "{\"a\":1,}x",
        "[1 2]",
        "{}{}",
        "\u{feff}{}",
        "{\"name\":tru}",
        "[1,,2]",
        "{1:2}",
        "{\"name\":nul}",
    ] {
        assert_eq!(scan(bad.as_bytes(), &[]).0, Ending::Invalid, "{bad}");
    }
    for empty in ["", " \r\n\t"] {
        assert_eq!(scan(empty.as_bytes(), &[]).0, Ending::Empty);
    }
    for number in ["1", "-0.5e3", " 17 "] {
        assert_eq!(scan(number.as_bytes(), &[]).0, Ending::Complete);
    }
}

#[test]
fn a_long_string_is_cut_at_its_cap_between_characters() {
    let told = |text: &str, cuts: &[usize]| scan(format!("{{\"short\":\"{text}\"}}").as_bytes(), cuts).1.0[1].clone();
    for cuts in [&[][..], &[11, 12, 13, 14, 15, 16, 17, 18]] {
        assert_eq!(told("abcdef", cuts), Told::Scalar(Field::Short, "text false abcdef".into()));
        assert_eq!(told("abcdefg", cuts), Told::Scalar(Field::Short, "text true abcdef".into()));
        assert_eq!(told("abcd\u{20ac}x", cuts), Told::Scalar(Field::Short, "text true abcd".into()));
        assert_eq!(told("abcd\\u00e9", cuts), Told::Scalar(Field::Short, "text true abcd".into()));
    }
}

#[test]
fn lone_surrogates_become_replacement_characters() {
    for (written, text) in [
        (r"\ud83d", "\u{fffd}"),
        (r"\ude00", "\u{fffd}"),
        (r"\ud83dx", "\u{fffd}x"),
        (r"\ud83d\n", "\u{fffd}\n"),
        (r"\ud83d\ud83d\ude00", "\u{fffd}\u{1f600}"),
        (r#"\ud83d\""#, "\u{fffd}\""),
        (r"\x", "\u{fffd}"),
        (r"\u12", "\u{fffd}12"),
    ] {
        for key in ["name", "text"] {
            let document = format!("{{\"{key}\":\"{written}\"}}");
            let expected = match key {
                "name" => Told::Scalar(Field::Name, format!("text false {text}")),
                _ => Told::Text(Field::Prose, text.into()),
            };
            for step in 1..document.len() {
                let cuts: Vec<_> = (0..document.len()).step_by(step).collect();
                assert_eq!(scan(document.as_bytes(), &cuts).1.0[1], expected, "{document} {step}");
            }
        }
    }
}

#[test]
fn after_a_gap_nothing_is_told() {
    let (mut scanner, mut log) = (Scanner::new(&ROOT), Log::default());
    scanner.push(br#"{"name":"a","#, &mut log);
    scanner.gap();
    let told = log.0.len();
    scanner.push(br#""count":1}"#, &mut log);
    assert_eq!((scanner.finish(&mut log), log.0.len()), (Ending::Invalid, told));
}

#[test]
fn memory_does_not_grow_with_the_document() {
    let (mut scanner, mut log) = (Scanner::new(&ROOT), Log::default());
    scanner.push(br#"{"name":""#, &mut log);
    for _ in 0..10_000 {
        scanner.push(b"0123456789abcdef\\n", &mut log);
    }
    scanner.push(br#"","other":["#, &mut log);
    for _ in 0..10_000 {
        scanner.push(br#"{"k":[[1,"\""]]},"#, &mut log);
    }
    scanner.push(br#"0]}"#, &mut log);
    assert!(scanner.held_bytes() <= 4 * VALUE_BYTES as usize, "{}", scanner.held_bytes());
    assert_eq!(scanner.finish(&mut log), Ending::Complete);
}

#[test]
fn strings_are_not_shown() {
    let scalar = Scalar::Text { value: "secret", cut: false };
    assert!(!format!("{scalar:?}").contains("secret"));
}
