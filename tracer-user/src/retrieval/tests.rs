//! Which paths are queries, and that no body does harm.

use proptest::prelude::*;

use super::*;
use crate::llm::tests::drive::Exchange;

fn could_be(method: &str, path: &str) -> bool {
    could_be_retrieval(&RequestHead { method: method.into(), path: path.into(), ..RequestHead::default() })
}

#[test]
fn a_path_lets_through_what_may_be_a_query() {
    for path in [
        "/collections/c/points/search",
        "/qdrant/collections/c/points/query/groups",
        "/api/v1/collections/c/query",
        "/api/v2/tenants/t/databases/d/collections/c/query",
        "/v2/vectordb/entities/hybrid_search",
        "/v1/vector/search",
        "/query",
        "/records/namespaces/n/search",
        "/v1/graphql",
        "/index/_search",
        "/_search",
    ] {
        assert!(could_be("POST", path), "{path}");
        assert!(!could_be("GET", path), "{path}");
    }
    for path in [
        "/",
        "/collections",
        "/collections/c/points",
        "/collections/c/points/scroll",
        "/collections/c/points/delete",
        "/api/v1/collections/c/add",
        "/v2/vectordb/entities/insert",
        "/vectors/upsert",
        "/app/query",
        "/graphql",
        "/index/_bulk",
        "/index/_search/scroll",
        "/v1/chat/completions",
    ] {
        assert!(!could_be("POST", path), "{path}");
    }
}

#[test]
fn a_loss_in_the_answer_leaves_the_documents_uncounted() {
    let exchange = Exchange::post("localhost:6333", "/collections/c/points/search")
        .request(r#"{"vector":[1],"limit":3}"#)
        .response(200, &[])
        .body(r#"{"result":[{"id":1},"#)
        .lost(false, Some(7));
    let id = exchange.id;
    let (mut queries, mut out) = (Queries::default(), Vec::new());
    for event in &exchange.events {
        queries.push(event, &mut out);
    }
    let outcome = crate::exchange::Outcome::Complete;
    assert!(queries.push(&crate::exchange::Event::End { id, at: 99_000_000, outcome }, &mut out));
    let [retrieval] = &out[..] else { panic!("one") };
    assert_eq!((retrieval.returned, retrieval.top_k, retrieval.carrier.lost_bytes), (None, Some(3), Some(7)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_body_does_harm(choice in prop::array::uniform2(any::<u8>()), words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..60)) {
        fuzz(&[&choice[..], words.concat().as_bytes()].concat());
    }
}

const WORDS: [&str; 28] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    "null",
    "1",
    "\"a\"",
    "\"limit\":3,",
    "\"vector\":[1],",
    "\"searches\":[",
    "\"topK\":2,",
    "\"query\":{",
    "\"query\":\"{Get{A(nearVector:{} limit:3)}}\",",
    "\"collectionName\":\"c\",",
    "\"n_results\":2,",
    "\"ids\":[[",
    "\"knn\":{",
    "\"k\":3",
    "\"size\":4,",
    "\"result\":[{}",
    "\"matches\":[{}",
    "\"hits\":{",
    "\"code\":7,",
    "\"error\":{",
    "\"type\":\"x\"",
    "\"errors\":[{}",
    "\"points\":[{}",
];
