//! Values of the request's body, as the JSON scanner finds them on its way.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::{Attributed, Attribution};
use crate::json::{Scalar, Shape, Sink};

/// Which source of which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub rule: usize,
    pub rank: usize,
}

/// The places that are looked for. Shapes are built for the whole program: these stay as long, once for each set of
/// paths that was ever configured.
#[derive(Clone, Copy)]
pub(super) struct Shapes(&'static Shape<Place>);

impl std::fmt::Debug for Shapes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shapes")
    }
}

type Paths = Vec<(Place, Vec<String>)>;

impl Shapes {
    pub fn new(paths: &[(Place, Vec<String>)]) -> Option<Self> {
        static KNOWN: Mutex<Option<HashMap<Paths, Shapes>>> = Mutex::new(None);
        if paths.is_empty() {
            return None;
        }
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        let shapes = known.entry(paths.to_vec()).or_insert_with(|| {
            let all: Vec<(Place, &[String])> = paths.iter().map(|(place, path)| (*place, path.as_slice())).collect();
            Self(Box::leak(Box::new(Shape::through().members(members(&all)))))
        });
        Some(*shapes)
    }

    pub fn root(self) -> &'static Shape<Place> {
        self.0
    }
}

/// The members on the way to these paths. Where two rules look at one place, the first has it.
fn members(paths: &[(Place, &[String])]) -> &'static [(&'static str, Shape<Place>)] {
    let mut names: Vec<&str> = paths.iter().filter_map(|(_, path)| path.first()).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let of_name = |name: &str| {
        let here = paths.iter().filter(|(_, path)| path.first().is_some_and(|first| first == name));
        let place = here.clone().find(|(_, path)| path.len() == 1).map(|(place, _)| *place);
        let below: Vec<(Place, &[String])> =
            here.filter(|(_, path)| path.len() > 1).map(|(place, path)| (*place, &path[1..])).collect();
        let shape = place.map_or(Shape::through(), Shape::value);
        let shape = if below.is_empty() { shape } else { shape.members(members(&below)) };
        (&*Box::leak(name.to_owned().into_boxed_str()), shape)
    };
    let list: Vec<(&'static str, Shape<Place>)> = names.into_iter().map(of_name).collect();
    Box::leak(list.into_boxed_slice())
}

/// Takes what the scanner hands over.
pub(super) struct Values<'a> {
    pub attribution: &'a Attribution,
    pub found: &'a mut Vec<Attributed>,
}

impl Sink<Place> for Values<'_> {
    fn scalar(&mut self, Place { rule, rank }: Place, value: Scalar<'_>) {
        let text = match value {
            Scalar::Text { value, .. } | Scalar::Number(value) => value,
            Scalar::Bool(true) => "true",
            Scalar::Bool(false) => "false",
            Scalar::Null | Scalar::Opaque { .. } => return,
        };
        self.attribution.add(self.found, rule, rank, text);
    }
}
