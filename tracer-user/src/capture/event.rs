//! What capture yields, live or replayed: the only thing that later stages see of it.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::container::Container;
use crate::kubernetes::InPod;

/// Names one connection's life within one run of llmtap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionKey(pub u64);

/// A table by connection: looked up for every event in every stage.
pub type ByConnection<T> = HashMap<ConnectionKey, T, BuildHasherDefault<KeyHasher>>;

/// Mixes the numbers of a key. Kernel and user side count them up: no one outside can choose them, so that the
/// standard library's hasher, which resists chosen keys at 20 ns a look, is not needed.
#[derive(Debug, Default, Clone, Copy)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        // 2^64 divided by the golden ratio, and the high bits where the table looks.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

/// Seen from the traced process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    Send,
    Receive,
}

/// Which end of the connection the traced process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    #[default]
    Client,
    Server,
}

impl Role {
    /// Of the end that sends requests in this direction.
    pub fn requesting(direction: Direction) -> Self {
        match direction {
            Direction::Send => Self::Client,
            Direction::Receive => Self::Server,
        }
    }
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedBy {
    /// The traced process freed or shut it down.
    Local,
    /// The peer closed in order (close_notify, FIN).
    Peer,
    /// The peer or the network reset it.
    Reset,
    /// The traced process ended or replaced its image.
    Exit,
    /// The source does not say.
    Unknown,
}

/// Facts of a connection that do not change. Absent means not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// The identity that telemetry shows as `llmtap.connection.id`: the `conn` string of a capture file.
    pub id: Arc<str>,
    pub pid: Option<u32>,
    pub tid: Option<u32>,
    pub comm: Option<Arc<str>>,
    pub exe: Option<Arc<str>>,
    pub cgroup: Option<Arc<str>>,
    pub container_id: Option<Arc<str>>,
    /// TLS library, for example `openssl 3.0.15`; `none` for plaintext.
    pub tls: Option<Arc<str>>,
    /// Server name indication (RFC 6066 section 3).
    pub sni: Option<Arc<str>>,
    /// `address:port` of the peer.
    pub peer: Option<Arc<str>>,
    pub role: Role,
}

/// What later stages need of a traced process. Absent means not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    pub ppid: Option<u32>,
    /// Start of the process, nanoseconds since the Unix epoch.
    pub start: Option<u64>,
    pub exe: Option<Arc<str>>,
    pub argv0: Option<Arc<str>>,
    pub uid: Option<u32>,
    /// Its `OTEL_SERVICE_NAME`, else the name of its script or executable.
    pub service: Option<Arc<str>>,
    /// Whether the process states that name itself, in its environment.
    #[serde(default)]
    pub service_is_stated: bool,
    /// Its `OTEL_RESOURCE_ATTRIBUTES`, decoded.
    pub resource_attributes: Vec<(String, String)>,
    /// The variables of its environment that attribution names, and no others.
    #[serde(default)]
    pub environment: Vec<(String, String)>,
    /// Its environment says that it exports telemetry of its model calls itself.
    #[serde(default)]
    pub tells_of_models: bool,
    /// The container that it is in.
    #[serde(default)]
    pub container: Option<Arc<Container>>,
    /// The pod that it is in.
    #[serde(default)]
    pub pod: Option<InPod>,
    /// Whether more of the pod is expected: then the process is told again, in any case, within
    /// [`wait`](crate::kubernetes::Options::wait).
    #[serde(default)]
    pub awaits_pod: bool,
}

impl Process {
    /// The service by the conventions' order: what the process states, what its pod states or is, its program's name.
    pub fn service_name(&self) -> Option<Arc<str>> {
        let stated = self.service.as_ref().filter(|_| self.service_is_stated).cloned();
        stated.or_else(|| self.pod.as_ref()?.service_name()).or_else(|| self.service.clone())
    }
}

/// One observation. Times are nanoseconds since the Unix epoch, taken from the kernel's clock.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A traced process was seen, or has replaced its image.
    Process {
        at: u64,
        process: Arc<Process>,
    },
    /// A connection was first seen. It comes before every other event of its connection.
    Open {
        at: u64,
        key: ConnectionKey,
        connection: Arc<Connection>,
    },
    /// Plaintext bytes at byte offset `offset` of their direction. Sent bytes carry the time when they were handed to
    /// the TLS library, received bytes the time when the application got them.
    Data {
        at: u64,
        key: ConnectionKey,
        direction: Direction,
        offset: u64,
        bytes: Bytes,
    },
    /// `lost` bytes from `offset` on were not captured; 0 means an unknown number.
    Gap {
        at: u64,
        key: ConnectionKey,
        direction: Direction,
        offset: u64,
        lost: u64,
    },
    Close {
        at: u64,
        key: ConnectionKey,
        by: ClosedBy,
    },
}

impl Event {
    /// When it happened, in nanoseconds since the Unix epoch.
    pub fn at(&self) -> u64 {
        match self {
            Self::Process { at, .. }
            | Self::Open { at, .. }
            | Self::Data { at, .. }
            | Self::Gap { at, .. }
            | Self::Close { at, .. } => *at,
        }
    }
}
