//! The capture file, version 1: UTF-8 JSON Lines, one record a line. Reader ([`super::replay`]) and writer
//! ([`super::record`]) share these shapes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::container::Container;
use crate::kubernetes::InPod;

/// The version that this program reads and writes.
pub const VERSION: u64 = 1;

/// Line 1. Further keys are free and ignored.
#[derive(Debug, Serialize, Deserialize)]
pub struct Header {
    pub llmtap_capture: u64,
}

/// Every other line, told apart by `k`. Absent keys are absent, whatever the record.
#[derive(Default, Serialize, Deserialize)]
pub struct Record<'a> {
    #[serde(borrow)]
    pub k: Cow<'a, str>,
    #[serde(default)]
    pub ts: u64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub conn: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub len: Option<u64>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub b64: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ppid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub comm: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub exe: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub argv0: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Cow<'a, str>>,
    /// Of a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Box<Container>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Box<InPod>>,
    /// The process stands in the file again, when more is known of its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits_pod: Option<bool>,
}
