//! Which connections a process has, as far as they could be calls to models (proc(5), `/proc/PID/net`).

use std::{collections::HashSet, fs};

use serde::Serialize;

/// HTTPS and HTTP/3.
const TLS: u16 = 443;

/// Servers of models on one's own machine: Ollama, vLLM, LM Studio, llama.cpp, Text Generation Inference, SGLang.
const LOCAL: [u16; 6] = [11_434, 8000, 1234, 8080, 3000, 30_000];

/// Open connections of one process, by what they are likely to carry.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Connections {
    /// TCP to port 443.
    pub tls: u32,
    /// TCP to a port on which model servers without TLS listen by default.
    pub local_models: u32,
    /// UDP to port 443.
    pub quic: u32,
}

/// What a process has open; none where it cannot be read.
pub struct Descriptors {
    sockets: HashSet<u64>,
    pub io_uring: bool,
}

impl Descriptors {
    pub fn of(pid: u32) -> Self {
        let mut found = Self { sockets: HashSet::new(), io_uring: false };
        let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return found };
        for target in entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()) {
            let target = target.to_string_lossy();
            found.io_uring |= target == "anon_inode:[io_uring]";
            let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            found.sockets.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
        }
        found
    }

    /// The process's own connections among those of its network namespace.
    pub fn connections(&self, pid: u32) -> Connections {
        let mut connections = Connections::default();
        if self.sockets.is_empty() {
            return connections;
        }
        let table = |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
        let ports = |name: &str| -> Vec<u16> { remote_ports(&table(name), &self.sockets) };
        for port in ports("tcp").into_iter().chain(ports("tcp6")) {
            connections.tls += u32::from(port == TLS);
            connections.local_models += u32::from(LOCAL.contains(&port));
        }
        let udp = ports("udp").into_iter().chain(ports("udp6"));
        connections.quic = udp.filter(|port| *port == TLS).count().try_into().unwrap_or(u32::MAX);
        connections
    }
}

/// Remote ports of the established connections whose sockets are among `own`.
fn remote_ports(table: &str, own: &HashSet<u64>) -> Vec<u16> {
    const ESTABLISHED: &str = "01";
    let port = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let remote = fields.nth(2)?;
        if fields.next()? != ESTABLISHED || !own.contains(&fields.nth(5)?.parse().ok()?) {
            return None;
        }
        u16::from_str_radix(remote.rsplit_once(':')?.1, 16).ok()
    };
    table.lines().skip(1).filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn established_connections_of_the_process_count() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:9C40 0100007F:01BB 01 00000000:00000000 00:00000000 00000000     0        0 77 1 0 20 4 30 10 -1
   1: 0100007F:9C41 0100007F:01BB 01 00000000:00000000 00:00000000 00000000     0        0 78 1 0 20 4 30 10 -1
   2: 0100007F:9C42 0100007F:2CAA 06 00000000:00000000 00:00000000 00000000     0        0 77 1 0 20 4 30 10 -1
   3: broken
";
        assert_eq!(remote_ports(table, &HashSet::from([77])), [443]);
    }
}
