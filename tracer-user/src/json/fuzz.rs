//! See [`super::fuzz`].

use super::{Container, Scalar, Scanner, Shape, Sink};

const ITEM: Shape<u8> =
    Shape::value(3).members(&[("a", Shape::value(4)), ("b", Shape::text(5))]).items(&Shape::value(6));
const ROOT: Shape<u8> = Shape::value(0)
    .members(&[("a", Shape::text(1)), ("b", Shape::container(2).items(&ITEM)), ("c", ITEM)])
    .items(&ITEM);

#[derive(Default, PartialEq)]
struct Log(Vec<u8>);

impl Sink<u8> for Log {
    fn scalar(&mut self, field: u8, value: Scalar<'_>) {
        self.0.push(field);
        match value {
            Scalar::Text { value, cut } => {
                self.0.push(u8::from(cut));
                self.0.extend_from_slice(value.as_bytes());
            }
            other => self.0.extend_from_slice(format!("{other:?}").as_bytes()),
        }
    }

    fn open(&mut self, field: u8, _: Container) {
        self.0.push(field | 0x40);
    }

    fn close(&mut self, field: u8) {
        self.0.push(field | 0x80);
    }

    fn text(&mut self, _: u8, piece: &[u8]) {
        self.0.extend_from_slice(piece);
    }
}

pub fn fuzz(data: &[u8]) {
    let (step, document) = data.split_first().map_or((1, data), |(step, rest)| (usize::from(*step % 32) + 1, rest));
    let (mut whole, mut cut) = (Log::default(), Log::default());
    let ending = Scanner::new(&ROOT).document(document, &mut whole);
    let mut scanner = Scanner::new(&ROOT);
    document.chunks(step).for_each(|piece| scanner.push(piece, &mut cut));
    assert!((ending, whole) == (scanner.finish(&mut cut), cut), "cutting changes the result");
}
