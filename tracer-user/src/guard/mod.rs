//! Guard: takes credentials and personal data out of what is told of a hop in every mode, content or not. Programs put a
//! key where the name of a model belongs, an e-mail address where the user's id does, a message where the code of an error
//! does. It stands before all that tells: spans, metrics, the terminal and diagnostics see what it leaves.
//!
//! Each structure is taken apart field by field, without `..`: whoever adds a text has to say here what it can be.

mod fields;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt::Write as _, sync::Arc};

use hashbrown::HashSet;
use sha2::{Digest as _, Sha256};

use self::fields::{Text, Use, model_call, request, retrieval};
use crate::{
    attribution::{Attributed, PersonalData},
    hop::Hop,
    llm::call::TraceParent,
    redact::{self, Found},
};

/// Texts that are known to be clean, and bytes of one of them. Past so many all are forgotten, and searched again.
const MAX_CLEAN: usize = 1024;
const MAX_CLEAN_BYTES: usize = 128;

/// Looks at hops as they end. One thread does.
#[derive(Debug, Default)]
pub struct Guard {
    personal_data: PersonalData,
    /// All texts of a hop in one: mostly there is nothing in them, and one search says so.
    together: String,
    /// Texts that come again in call after call, and in which nothing was found.
    clean: HashSet<Box<str>>,
}

impl Guard {
    pub fn set_personal_data(&mut self, personal_data: PersonalData) {
        self.personal_data = personal_data;
    }

    /// Cleans all that is told of a hop but what attribution found.
    pub fn hop(&mut self, hop: &mut Hop) {
        if let Hop::Mcp(request) = hop
            && let Some(uri) = &mut request.resource
        {
            // As in contents: a query can be a credential.
            uri.truncate(uri.find(['?', '#']).unwrap_or(uri.len()));
        }
        if let Some(parent) = trace_parent(hop)
            && parent.state.as_deref().is_some_and(|state| !redact::told().find(state).is_empty())
        {
            // What is left of it would be no state of anybody's.
            parent.state = None;
        }
        let Self { together, clean, .. } = self;
        together.clear();
        let mut news = false;
        each(hop, &mut |text, kind| {
            let text = text.as_text();
            if kind == Use::Common {
                if clean.contains(text) {
                    return;
                }
                news = true;
            }
            together.push_str(text);
            // No secret goes on behind it, and none begins before it.
            together.push('\n');
        });
        if redact::told().find(together).is_empty() {
            if news {
                self.remember(hop);
            }
            return;
        }
        each(hop, &mut |text, _| {
            if let Cow::Owned(clean) = redact::told().redact(text.as_text()) {
                text.replace(clean);
            }
        });
    }

    /// Nothing was found in this one.
    fn remember(&mut self, hop: &mut Hop) {
        let clean = &mut self.clean;
        each(hop, &mut |text, kind| {
            let text = text.as_text();
            if kind == Use::Common && text.len() <= MAX_CLEAN_BYTES && !clean.contains(text) {
                if clean.len() >= MAX_CLEAN {
                    clean.clear();
                }
                clean.insert(text.into());
            }
        });
    }

    /// Cleans what attribution found: of credentials always, of personal data as configured.
    pub fn attributed(&self, found: &mut [Attributed]) {
        for one in found {
            if let Some(clean) = self.value(&one.value) {
                one.value = Arc::from(clean);
            }
        }
    }

    fn value(&self, value: &str) -> Option<String> {
        let secrets = match self.personal_data {
            PersonalData::Kept => redact::secrets(),
            PersonalData::Redacted | PersonalData::Hashed => redact::told(),
        };
        let found = secrets.find(value);
        if found.is_empty() {
            return None;
        }
        let hashed = |found: &Found| self.personal_data == PersonalData::Hashed && redact::is_personal(&found.rule);
        Some(redact::replace(value, &found, &|found, text| match hashed(found) {
            true => format!("[{}:{}]", found.rule, hash(text)),
            false => redact::mark(&found.rule),
        }))
    }
}

fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.to_lowercase().as_bytes());
    digest.iter().take(8).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn each(hop: &mut Hop, see: &mut dyn FnMut(&mut dyn Text, Use)) {
    match hop {
        Hop::Model(call) => model_call(call, see),
        Hop::Mcp(one) => request(one, see),
        Hop::Retrieval(one) => retrieval(one, see),
    }
}

fn trace_parent(hop: &mut Hop) -> Option<&mut TraceParent> {
    match hop {
        Hop::Model(call) => call.trace_parent.as_mut(),
        Hop::Mcp(request) => request.carrier.trace_parent.as_mut(),
        Hop::Retrieval(retrieval) => retrieval.carrier.trace_parent.as_mut(),
    }
}
