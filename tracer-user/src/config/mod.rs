//! What a run is to do: from the command line, and for the daemon from a file.

mod command_line;
pub mod file;
pub mod values;

pub use command_line::{
    Cli, Command, Daemon, Doctor, Exclude, Live, LogFormat, Output, Replay, Run, Select, Shared, Trace,
};
pub use file::File;
