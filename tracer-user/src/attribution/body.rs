//! Values of the request's body, as the reader of the request finds them on its way.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::{Attributed, Attribution};
use crate::json::{Beside, Container, Scalar, Shape, Sink};

/// Which source of which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    pub(super) rule: usize,
    pub(super) rank: usize,
}

/// The places that are looked for. Shapes are built for the whole program: these stay as long, once for each set of
/// paths that was ever configured, and for each shape of a request that they were put beside.
#[derive(Clone, Copy)]
pub(super) struct Shapes(&'static Known);

struct Known {
    root: Shape<Place>,
    /// By the other shape's type and address.
    beside: Mutex<HashMap<(TypeId, usize), &'static (dyn Any + Send + Sync)>>,
}

impl std::fmt::Debug for Shapes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shapes")
    }
}

type Paths = Vec<(Place, Vec<String>)>;

impl Shapes {
    pub fn new(paths: &[(Place, Vec<String>)]) -> Self {
        static KNOWN: Mutex<Option<HashMap<Paths, Shapes>>> = Mutex::new(None);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        *known.entry(paths.to_vec()).or_insert_with(|| {
            let all: Vec<(Place, &[String])> = paths.iter().map(|(place, path)| (*place, path.as_slice())).collect();
            let root = Shape::through().members(members(&all));
            Self(Box::leak(Box::new(Known { root, beside: Mutex::default() })))
        })
    }

    /// These places beside those of a shape of requests.
    pub fn beside<F: Copy + Send + Sync + 'static>(self, own: &'static Shape<F>) -> &'static Shape<Beside<F, Place>> {
        let mut beside = self.0.beside.lock().unwrap_or_else(PoisonError::into_inner);
        let known = beside.entry((TypeId::of::<F>(), std::ptr::from_ref(own).addr()));
        let known = *known.or_insert_with(|| Box::leak(Box::new(own.beside(Some(&self.0.root)))));
        known.downcast_ref().unwrap_or_else(|| unreachable!("the key has the type"))
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

/// Takes what the scanner hands over, and hands on what is the request's own reader's.
pub(super) struct Values<'a, S> {
    pub attribution: &'a Attribution,
    pub found: &'a mut Vec<Attributed>,
    pub own: &'a mut S,
}

impl<F, S: Sink<F>> Sink<Beside<F, Place>> for Values<'_, S> {
    fn scalar(&mut self, field: Beside<F, Place>, value: Scalar<'_>) {
        if let Some(Place { rule, rank }) = field.aside {
            let text = match value {
                Scalar::Text { value, .. } | Scalar::Number(value) => Some(value),
                Scalar::Bool(true) => Some("true"),
                Scalar::Bool(false) => Some("false"),
                Scalar::Null | Scalar::Opaque { .. } => None,
            };
            if let Some(text) = text {
                self.attribution.add(self.found, rule, rank, text);
            }
        }
        if let Some(own) = field.own {
            self.own.scalar(own, value);
        }
    }

    fn open(&mut self, field: Beside<F, Place>, container: Container) {
        if let Some(own) = field.own {
            self.own.open(own, container);
        }
    }

    fn close(&mut self, field: Beside<F, Place>) {
        if let Some(own) = field.own {
            self.own.close(own);
        }
    }

    fn wants_text(&mut self, field: Beside<F, Place>) -> bool {
        field.own.is_some_and(|own| self.own.wants_text(own))
    }

    fn text(&mut self, field: Beside<F, Place>, piece: &[u8]) {
        if let Some(own) = field.own {
            self.own.text(own, piece);
        }
    }
}
