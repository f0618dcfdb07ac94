//! One file a command of the command line.

pub mod daemon;
pub mod doctor;
pub mod replay;
pub mod run;
pub mod trace;

/// Why a command fails, and the status that it fails with.
#[derive(Debug)]
pub struct Failure {
    pub status: u8,
    pub error: anyhow::Error,
}

impl Failure {
    /// It failed while it ran.
    pub fn run(error: impl Into<anyhow::Error>) -> Self {
        Self { status: 1, error: error.into() }
    }

    /// The command line, the environment or a file named there asks for what cannot be meant.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { status: 2, error: error.into() }
    }

    /// This machine or these privileges cannot do it.
    pub fn cannot(error: impl Into<anyhow::Error>) -> Self {
        Self { status: 77, error: error.into() }
    }
}
