//! Every fuzz body by name. A body stands beside the decoder that it feeds; `fuzz/fuzz_targets/` has one file a name,
//! and the unit test below replays each body's seeds (`fuzz/seeds/NAME/`), so that they stay alive without libFuzzer.

use crate::{capture::locate, flow, json, llm, mcp, observe, proto, redact, retrieval};

/// A fuzz body: any input is legal, and a broken promise panics.
pub type Body = fn(&[u8]);

pub const TARGETS: &[(&str, Body)] = &[
    ("flow", flow::fuzz::flow),
    ("http1", proto::fuzz::http1),
    ("websocket", proto::fuzz::websocket),
    ("http2", proto::http2::fuzz::http2),
    ("hpack", proto::http2::fuzz::hpack),
    ("body", proto::fuzz::body),
    ("sse", proto::fuzz::sse),
    ("lines", proto::fuzz::lines),
    ("json", json::fuzz),
    ("eventstream", proto::fuzz::eventstream),
    ("array", proto::fuzz::array),
    ("form", proto::fuzz::form),
    ("llm", llm::fuzz),
    ("locate", locate::fuzz),
    ("mcp", mcp::fuzz),
    ("retrieval", retrieval::fuzz),
    ("redact", redact::fuzz::fuzz),
    ("observe", observe::fuzz::fuzz),
];

/// Runs the body of that name.
pub fn run(name: &str, data: &[u8]) {
    for (_, body) in TARGETS.iter().filter(|(target, _)| *target == name) {
        body(data);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// A small generator: the test needs noise that is the same on every run.
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, limit: usize) -> usize {
            (self.next() % limit.max(1) as u64) as usize
        }
    }

    #[test]
    fn seeds_their_mutations_and_noise_keep_every_promise() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        for (name, body) in TARGETS {
            assert!(root.join(format!("fuzz_targets/{name}.rs")).is_file(), "{name} has a target");
            let seeds = fs::read_dir(root.join("seeds").join(name)).unwrap();
            let seeds: Vec<_> = seeds.map(|seed| fs::read(seed.unwrap().path()).unwrap()).collect();
            assert!(!seeds.is_empty(), "{name} has seeds");
            let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
            body(&[]);
            for round in 0..2000 {
                let mut data = match seeds.get(round % (seeds.len() + 1)) {
                    Some(seed) => seed.clone(),
                    None => (0..noise.below(300)).map(|_| noise.next() as u8).collect(),
                };
                // The first rounds take the seeds as they are.
                let mutations = if round < seeds.len() { 0 } else { noise.below(6) };
                for _ in 0..mutations {
                    mutate(&mut data, &mut noise);
                }
                body(&data);
            }
        }
    }

    fn mutate(data: &mut Vec<u8>, noise: &mut Noise) {
        if data.is_empty() {
            return;
        }
        let place = noise.below(data.len());
        match noise.below(4) {
            0 => data[place] = noise.next() as u8,
            1 => data.truncate(place),
            2 => {
                let end = place + noise.below(data.len() - place);
                data.drain(place..end);
            }
            _ => {
                let end = place + noise.below((data.len() - place).min(64));
                let copy = data[place..end].to_vec();
                let target = noise.below(data.len());
                data.splice(target..target, copy);
            }
        }
    }
}
