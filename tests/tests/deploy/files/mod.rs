//! What needs no build of its own: also run by default (`cargo xtask test files`).

mod collector;
mod manifests;
mod service;
