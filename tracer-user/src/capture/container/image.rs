//! References of images (distribution/reference): `registry/repository:tag@digest`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The parts of a reference; absent is not stated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// Without tag and digest.
    pub name: Option<Arc<str>>,
    pub tag: Option<Arc<str>>,
    /// Of the manifest: `sha256:…`.
    pub digest: Option<Arc<str>>,
}

impl Image {
    /// Splits a reference. An image's own id (`sha256:…`, or hexadecimal digits alone) names nothing.
    pub fn parse(reference: &str) -> Self {
        let (rest, digest) = match reference.split_once('@') {
            Some((rest, digest)) => (rest, is_digest(digest).then_some(digest)),
            None => (reference, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            // A port is followed by a path.
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        let is_own_id = rest.strip_prefix("sha256:").is_some()
            || (tag.is_none() && rest.len() >= 12 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let (name, tag) = if is_own_id { ("", None) } else { (name, tag) };
        let some = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
        Self { name: some(name), tag: tag.and_then(some), digest: digest.map(Arc::from) }
    }

    /// What this one does not state, `other` may.
    pub fn or(self, other: Self) -> Self {
        // A tag or digest of another repository's says nothing of this one's; one of the same adds to it.
        let same = self.name.is_none() || other.name.is_none() || self.name == other.name;
        let (tag, digest) = if same { (other.tag, other.digest) } else { (None, None) };
        Self { name: self.name.or(other.name), tag: self.tag.or(tag), digest: self.digest.or(digest) }
    }

    /// `service.version` by the conventions: `tag@digest`, the digest, or the tag.
    pub fn version(&self) -> Option<String> {
        match (&self.tag, &self.digest) {
            (Some(tag), Some(digest)) => Some(format!("{tag}@{digest}")),
            (None, Some(one)) | (Some(one), None) => Some(one.to_string()),
            (None, None) => None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.name.is_none() && self.tag.is_none() && self.digest.is_none()
    }
}

/// `algorithm:hex`, as the image specification writes it.
pub fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e4908de936ca9f6120445032741d21eec078dd9f70c9ec73f9e7ab41a17d6deb";

    #[test]
    fn references_have_parts() {
        for (reference, name, tag, digest) in [
            ("nginx", Some("nginx"), None, None),
            ("docker.io/library/nginx:1.27", Some("docker.io/library/nginx"), Some("1.27"), None),
            ("localhost:5000/team/agent", Some("localhost:5000/team/agent"), None, None),
            ("localhost:5000/team/agent:v1", Some("localhost:5000/team/agent"), Some("v1"), None),
            (&format!("a.example/agent:v1@{DIGEST}"), Some("a.example/agent"), Some("v1"), Some(DIGEST)),
            (&format!("a.example/agent@{DIGEST}"), Some("a.example/agent"), None, Some(DIGEST)),
            ("a.example/agent@nonsense", Some("a.example/agent"), None, None),
            (DIGEST, None, None, None),
            (&DIGEST[7..], None, None, None),
            ("", None, None, None),
        ] {
            let image = Image::parse(reference);
            let parts = (image.name.as_deref(), image.tag.as_deref(), image.digest.as_deref());
            assert_eq!(parts, (name, tag, digest), "{reference}");
        }
    }

    #[test]
    fn what_one_source_does_not_state_another_may() {
        let tagged = Image::parse("a.example/agent:v1");
        let pinned = Image::parse(&format!("a.example/agent@{DIGEST}"));
        let both = tagged.clone().or(pinned);
        assert_eq!(both.version().unwrap(), format!("v1@{DIGEST}"));
        assert_eq!(tagged.clone().or(Image::parse(&format!("b.example/other@{DIGEST}"))), tagged);
        assert_eq!(Image::default().version(), None);
    }
}
