//! Values of attribution that metrics tell apart.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::store::Label;
use crate::attribution::Attributed;

/// What every value past the cap of its attribute counts as: the conventions' word for "none of the known ones".
const OTHER: &str = "_OTHER";

/// The values that have a label of their own, by attribute: those that came first.
#[derive(Debug, Default)]
pub struct Values(HashMap<&'static str, BTreeSet<Arc<str>>>);

impl Values {
    /// The label of a value; `None` when metrics do not tell the attribute.
    pub fn label(&mut self, attributed: &Attributed) -> Option<(&'static str, Label)> {
        let most = attributed.metric_values?;
        let known = self.0.entry(attributed.name).or_default();
        if !known.contains(&attributed.value) {
            if known.len() >= most as usize {
                return Some((attributed.name, OTHER.into()));
            }
            known.insert(Arc::clone(&attributed.value));
        }
        Some((attributed.name, (&*attributed.value).into()))
    }
}
