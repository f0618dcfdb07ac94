use proptest::prelude::*;
use serde_json::json;

use super::*;

fn limits(body_bytes: usize, string_bytes: usize) -> Limits {
    Limits { body_bytes, string_bytes, ..Limits::default() }
}

fn excerpt(limits: Limits, document: &[u8], step: usize) -> Option<Json> {
    let pool = Pool::new(1 << 30);
    let mut excerpt = Excerpt::new(limits, &pool);
    document.chunks(step).for_each(|piece| excerpt.push(piece));
    let copy = excerpt.finish();
    assert_eq!(pool.held(), 0);
    copy
}

fn messages(of: &Json) -> Vec<&str> {
    of["messages"].as_array().unwrap().iter().map(|item| item["n"].as_str().unwrap_or("gap")).collect()
}

#[test]
fn a_small_document_is_copied_whole() {
    let document = json!({"model": "m", "messages": [{"role": "user", "content": "a \"b\" \\ c\n"}, [], {}, [[1]]],
        "tools": [], "n": [-1.5e3, true, null], "request": {"contents": [{"parts": [{"text": "x"}]}]}});
    for text in [document.to_string(), serde_json::to_string_pretty(&document).unwrap()] {
        for step in [1, 2, 3, 1000] {
            assert_eq!(excerpt(Limits::default(), text.as_bytes(), step).as_ref(), Some(&document), "{step}");
        }
    }
}

#[test]
fn what_is_no_whole_document_has_no_copy() {
    for text in ["", "{", "{\"a\":[1}", "]", "{\"a\":\"b", "nonsense!", "{}{}", "[1,2", "{\"a\" 1}"] {
        assert_eq!(excerpt(Limits::default(), text.as_bytes(), 1), None, "{text}");
    }
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    assert_eq!(excerpt(Limits::default(), deep.as_bytes(), 7), None);
    let key = format!("{{\"{}\":1}}", "k".repeat(10_000));
    assert_eq!(excerpt(Limits::default(), key.as_bytes(), 7), None);
    let mut lossy = Excerpt::new(Limits::default(), &Pool::new(1 << 20));
    lossy.push(b"{\"a\":");
    lossy.lost();
    lossy.push(b"1}");
    assert_eq!(lossy.finish(), None);
    assert_eq!(lossy.document(b"{}"), Some(json!({})), "the next one is another document");
}

#[test]
fn binary_strings_leave_their_size_and_their_type() {
    let data = "iVBORw0KGgo+/".repeat(1000);
    let document = json!({"messages": [{"plain": data, "url": format!("data:image/png;base64,{data}")}]}).to_string();
    for step in [1, 100, 5000, 1 << 20] {
        let copy = excerpt(Limits::default(), document.as_bytes(), step).unwrap();
        let item = &copy["messages"][0];
        assert_eq!(gap(&item["plain"]), Some(Gap::String { bytes: 13_000, head: None }));
        let head = Some("data:image/png;base64,");
        assert_eq!(gap(&item["url"]), Some(Gap::String { bytes: 13_022, head }), "{step}");
    }
    // Python's and PHP's ways of writing it.
    for line in ["QUJD\\n", "QUJD\\/"] {
        let document = format!("[\"{}\"]", line.repeat(2000));
        let copy = excerpt(Limits::default(), document.as_bytes(), 999).unwrap();
        assert!(gap(&copy[0]).is_some());
    }
}

#[test]
fn text_is_kept_up_to_the_cap_of_a_string() {
    let text = "A sentence, and ".repeat(500);
    let document = json!([text]).to_string();
    assert_eq!(excerpt(limits(1 << 20, 8000), document.as_bytes(), 77), Some(json!([text])));
    let copy = excerpt(limits(1 << 20, 7999), document.as_bytes(), 77).unwrap();
    assert_eq!(gap(&copy[0]), Some(Gap::String { bytes: 8000, head: None }));
}

#[test]
fn of_a_long_list_the_first_item_and_the_latest_stay() {
    let item = |n: u32| json!({"n": n.to_string(), "text": "words of a message ".repeat(20)});
    let list: Vec<_> = (0..100).map(item).collect();
    let document = json!({"messages": list, "model": "m", "tools": [{"name": "t"}]}).to_string();
    let copy = excerpt(limits(4000, 1 << 20), document.as_bytes(), 100).unwrap();
    let kept = messages(&copy);
    assert_eq!((kept[0], kept[1], *kept.last().unwrap()), ("0", "gap", "99"));
    let Some(Gap::Items(left_out)) = gap(&copy["messages"][1]) else { panic!("no gap") };
    assert_eq!(left_out.items as usize + kept.len() - 1, 100);
    assert!(left_out.bytes > left_out.items * 380);
    assert_eq!((&copy["model"], &copy["tools"][0]["name"]), (&json!("m"), &json!("t")));
}

#[test]
fn an_item_that_has_no_place_even_alone_is_left_out() {
    let words = "words and words ".repeat(1000);
    let document = json!({"messages": [{"n": "0"}, {"n": "1", "a": [{"b": words}], "c": words}, {"n": "2"}]});
    for step in [1, 50, 100_000] {
        let copy = excerpt(limits(2000, 1 << 20), document.to_string().as_bytes(), step).unwrap();
        assert_eq!(messages(&copy).last(), Some(&"2"), "{step}");
        assert!(messages(&copy).contains(&"gap"));
    }
}

#[test]
fn a_body_of_many_megabytes_is_held_within_its_cap() {
    let pool = Pool::new(1 << 30);
    let limits = limits(256 << 10, 64 << 10);
    let mut excerpt = Excerpt::new(limits, &pool);
    let mut pushed = 0;
    let mut push = |bytes: &[u8]| {
        for piece in bytes.chunks(16 << 10) {
            excerpt.push(piece);
            pushed += piece.len();
            assert!(pool.held() <= limits.body_bytes + ITEM_BYTES, "{}", pool.held());
        }
    };
    push(b"{\"messages\":[{\"n\":\"0\"}");
    let (picture, words) = ("QUJD".repeat(1 << 18), "A few words. ".repeat(1 << 12));
    for n in 1..=8 {
        push(format!(",{{\"n\":\"{n}\",\"a\":\"{picture}\",\"b\":\"{words}\"}}").as_bytes());
    }
    push(b"]}");
    assert!(pushed > 8 << 20);
    let copy = excerpt.finish().unwrap();
    assert_eq!((messages(&copy)[0], *messages(&copy).last().unwrap()), ("0", "8"));
}

#[test]
fn without_memory_there_is_no_copy_and_that_is_known() {
    let pool = Pool::new(1000);
    let (mut first, mut second) = (Excerpt::new(Limits::default(), &pool), Excerpt::new(Limits::default(), &pool));
    first.push(format!("[\"{}\",", "word ".repeat(150)).as_bytes());
    second.push(format!("[\"{}\"]", "word ".repeat(150)).as_bytes());
    assert!(second.is_starved() && !first.is_starved());
    assert_eq!(second.finish(), None);
    first.push(b"1]");
    assert!(first.finish().is_some());
    assert_eq!(pool.held(), 0);
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i32>().prop_map(Json::from),
        "\\PC{0,12}".prop_map(Json::from),
        "[a-z ,\"]{0,300}".prop_map(Json::from),
        (0..3_usize).prop_map(|n| Json::from("QUJDRA==".repeat(n * 600))),
        (0..3_usize).prop_map(|n| Json::from(format!("data:audio/wav;base64,{}", "QUJD".repeat(n * 1100)))),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Json::from),
            prop::collection::btree_map("[a-z]{1,6}", inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn cuts_change_nothing_and_the_cap_holds(value in any_json(), step in 1..200_usize, cap in 100..20_000_usize) {
        let document = value.to_string();
        let limits = limits(cap, 5000);
        let whole = excerpt(limits, document.as_bytes(), usize::MAX);
        prop_assert_eq!(&excerpt(limits, document.as_bytes(), step), &whole);
        let pool = Pool::new(1 << 30);
        let mut excerpt = Excerpt::new(limits, &pool);
        for piece in document.as_bytes().chunks(step) {
            excerpt.push(piece);
            prop_assert!(pool.held() <= cap + ITEM_BYTES, "{} over {cap}", pool.held());
        }
        if cap > document.len() * (ITEM_BYTES + 2) && !document.contains("QUJD") {
            prop_assert_eq!(whole, Some(value));
        }
    }

    #[test]
    fn no_bytes_harm(bytes in prop::collection::vec(prop_oneof![
        Just(b'"'), Just(b'\\'), Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b','), Just(b':'), any::<u8>()
    ], 0..200)) {
        excerpt(limits(60, 5000), &bytes, 3);
    }
}
