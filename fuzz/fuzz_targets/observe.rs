#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| llmtap::fuzz::run("observe", data));
