//! Examines arbitrary texts, and holds arbitrary values against arbitrary schemas. Nothing may panic or run away, and the
//! same input gives the same answer.

use std::sync::LazyLock;

use super::{
    Place,
    rules::{Hits, Rules},
    schema::validates,
};

static RULES: LazyLock<Option<Rules>> = LazyLock::new(|| Rules::new(&[], &[]).ok());

/// A pair `[schema, value]` is checked; what is none is a text.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok((schema, value)) = serde_json::from_slice::<(serde_json::Value, serde_json::Value)>(data) {
        let verdict = validates(&schema, &value);
        assert_eq!(verdict, validates(&schema, &value), "a check has no memory");
        return;
    }
    let Some(rules) = &*RULES else { panic!("the built-in rules are rules") };
    let text = String::from_utf8_lossy(data);
    for place in Place::ALL {
        let mut hits = Hits::new();
        rules.examine(place, &text, &mut hits);
        for ((at, rule), count) in &hits {
            assert!(*at == place && *count == 1 && !rule.is_empty(), "a rule counts once for each text");
        }
    }
}
