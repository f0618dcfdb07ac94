//! Where this kernel's structures have what the eBPF programs read, from its BTF.

use super::super::btf::{Btf, BtfError};

/// Where the eBPF programs find what, by the names of their globals.
pub(super) fn field_offsets(btf: &Btf) -> Result<Vec<(&'static str, u32)>, BtfError> {
    let thread = btf.offset("task_struct", "thread")?;
    let mut offsets = vec![("TASK_FSBASE", thread + btf.offset("thread_struct", "fsbase")?)];
    for (name, structure, field) in [
        ("TASK_PID", "task_struct", "pid"),
        ("TASK_TGID", "task_struct", "tgid"),
        ("TASK_SIGNAL", "task_struct", "signal"),
        ("TASK_REAL_PARENT", "task_struct", "real_parent"),
        ("TASK_START_BOOTTIME", "task_struct", "start_boottime"),
        ("TASK_GROUP_LEADER", "task_struct", "group_leader"),
        ("TASK_MM", "task_struct", "mm"),
        ("SIGNAL_LIVE", "signal_struct", "live"),
        ("MM_START_STACK", "mm_struct", "start_stack"),
        ("BPRM_FILENAME", "linux_binprm", "filename"),
        ("CGROUP_SELF", "cgroup", "self"),
        ("CGROUP_KN", "cgroup", "kn"),
        ("CGROUP_ROOT", "cgroup", "root"),
        ("CSS_PARENT", "cgroup_subsys_state", "parent"),
        ("KN_ID", "kernfs_node", "id"),
        ("ROOT_HIERARCHY_ID", "cgroup_root", "hierarchy_id"),
    ] {
        offsets.push((name, btf.offset(structure, field)?));
    }
    Ok(offsets)
}

/// What only the reading of sockets needs.
pub(super) fn socket_offsets(btf: &Btf) -> Result<Vec<(&'static str, u32)>, BtfError> {
    let common = btf.offset("sock", "__sk_common")?;
    let mut offsets = vec![(
        "SOCKET_INODE",
        btf.offset("socket_alloc", "vfs_inode")? + btf.offset("inode", "i_ino")?
            - btf.offset("socket_alloc", "socket")?,
    )];
    for (name, field) in [
        ("SOCK_FAMILY", "skc_family"),
        ("SOCK_PORTS", "skc_portpair"),
        ("SOCK_PEER", "skc_daddr"),
        ("SOCK_PEER_V6", "skc_v6_daddr"),
    ] {
        offsets.push((name, common + btf.offset("sock_common", field)?));
    }
    for (name, field) in
        [("SOCK_PROTOCOL", "sk_protocol"), ("SOCK_SHUTDOWN", "sk_shutdown"), ("SOCK_SOCKET", "sk_socket")]
    {
        offsets.push((name, btf.offset("sock", field)?));
    }
    Ok(offsets)
}
