//! Runs real clients under `llmtap`.
