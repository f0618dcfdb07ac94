//! Price: what a call cost, by a built-in table that names its source, or by the user's own.
