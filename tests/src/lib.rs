//! Mock provider and end-to-end tests.
