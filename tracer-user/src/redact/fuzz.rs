//! Redacts arbitrary text. Nothing may panic, nothing that was found may be left, and what was clean stays as it was.

use std::{borrow::Cow, sync::LazyLock};

use super::{Options, Pattern, Redactor};

static ALL: LazyLock<Option<Redactor>> = LazyLock::new(|| {
    let own = Pattern { name: "own".to_owned(), pattern: r"KD-(\d{4,})".to_owned() };
    Redactor::new(&Options { iban: true, phone: true, patterns: vec![own], ..Options::default() }).ok()
});

#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    assert!(ALL.is_some(), "the built-in rules make a redactor");
    let Some(redactor) = &*ALL else { return };
    let text = String::from_utf8_lossy(data);
    let found = redactor.find(&text);
    for pair in found.windows(2) {
        assert!(pair[0].range.end <= pair[1].range.start, "what is found is in order and apart");
    }
    let clean = redactor.redact(&text);
    match clean {
        Cow::Borrowed(same) => assert!(found.is_empty() && same == text, "only what is found changes a text"),
        Cow::Owned(ref clean) => {
            let mut kept = 0;
            for one in &found {
                assert!(!one.range.is_empty(), "nothing is found in nothing");
                kept += one.range.len();
            }
            let marks: usize = found.iter().map(|one| "[REDACTED:]".len() + one.rule.len()).sum();
            assert_eq!(clean.len(), text.len() - kept + marks, "each one is replaced, and nothing else");
        }
    }
}
