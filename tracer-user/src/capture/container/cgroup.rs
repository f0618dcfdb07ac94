//! What a process's control group tells of its container: ids and pods are in the path that the runtime chose.

use std::{io::Read as _, path::Path, sync::Arc};

use super::Runtime;

/// Most of `/proc/PID/cgroup` that is looked at, bytes. One line a hierarchy, and paths have at most 4,096 bytes.
const MAX_CGROUP: u64 = 128 << 10;

/// What the path says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The runtime's id of the innermost container.
    pub container: Arc<str>,
    /// Where the path names the runtime.
    pub runtime: Option<Runtime>,
    /// The pod that kubelet made the container for. For a pod of kubelet's own manifests (a static pod) it is not the uid
    /// that the API server knows, but the manifest's hash.
    pub pod_uid: Option<Arc<str>>,
}

/// The container of process `pid`; `None` when it is in none, or is gone.
pub fn identity(pid: u32) -> Option<Identity> {
    identity_in(&Path::new("/proc").join(pid.to_string()).join("cgroup"))
}

fn identity_in(file: &Path) -> Option<Identity> {
    let mut text = Vec::new();
    std::fs::File::open(file).ok()?.take(MAX_CGROUP).read_to_end(&mut text).ok()?;
    parse(&String::from_utf8_lossy(&text))
}

/// From the lines of cgroups(7), `hierarchy:controllers:path`. In version 1 not every hierarchy has a group for the
/// container: the line that tells most counts.
pub fn parse(text: &str) -> Option<Identity> {
    let of_lines = text.lines().filter_map(|line| of_path(line.splitn(3, ':').nth(2)?));
    of_lines.reduce(|best, other| if best.pod_uid.is_none() && other.pod_uid.is_some() { other } else { best })
}

/// From one path, as the reader's cgroup namespace shows it: outside of it the path begins with `/..`.
fn of_path(path: &str) -> Option<Identity> {
    let components: Vec<&str> = path.split('/').filter(|component| !component.is_empty()).collect();
    let at = components.iter().rposition(|component| container(component).is_some())?;
    let (left, rest) = components.split_at(at);
    let (id, named) = container(rest.first()?)?;
    // systemd's name of the slice, where the runtime let runc join them with colons.
    let slice = rest.first()?.split_once(':').map(|(slice, _)| slice);
    let pod_uid = slice.into_iter().chain(left.iter().rev().copied()).find_map(pod);
    let parent = left.last().copied().unwrap_or_default();
    let runtime = named.or_else(|| (parent == "docker").then_some(Runtime::Docker));
    Some(Identity { container: id.into(), runtime, pod_uid: pod_uid.map(Arc::from) })
}

/// The container that a component names: `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID`, `libpod-ID`,
/// `slice:cri-containerd:ID`, `ID`, and in Fargate `TASK-NUMBER`.
fn container(component: &str) -> Option<(&str, Option<Runtime>)> {
    if let Some((rest, id)) = component.rsplit_once(':') {
        let prefix = rest.rsplit(':').next().unwrap_or(rest);
        return is_id(id).then_some((id, by_prefix(prefix)));
    }
    let name = component.strip_suffix(".scope").unwrap_or(component);
    if is_id(name) {
        return Some((name, None));
    }
    let (prefix, id) = name.rsplit_once('-')?;
    // The monitor of a container is outside of it.
    if is_id(id) && !prefix.ends_with("conmon") {
        return Some((id, by_prefix(prefix)));
    }
    let is_task = prefix.len() == 32 && is_hex(prefix) && id.len() >= 6 && id.bytes().all(|byte| byte.is_ascii_digit());
    is_task.then_some((name, None))
}

fn by_prefix(prefix: &str) -> Option<Runtime> {
    Some(match prefix {
        "docker" => Runtime::Docker,
        "cri-containerd" | "nerdctl" => Runtime::Containerd,
        "crio" => Runtime::CriO,
        "libpod" => Runtime::Podman,
        _ => return None,
    })
}

/// The pod that a component names: `podUID`, `kubepods-burstable-podUID_WITH_UNDERSCORES.slice`.
fn pod(component: &str) -> Option<String> {
    let name = component.strip_suffix(".slice").unwrap_or(component);
    let at = name.rfind("pod")?;
    let (before, uid) = (name.get(..at)?, name.get(at + 3..)?.replace('_', "-"));
    ((before.is_empty() || before.ends_with('-')) && is_pod_uid(&uid)).then_some(uid)
}

/// A UUID or, of a static pod, the MD5 of its manifest.
fn is_pod_uid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    text.split('-').all(is_hex) && (lengths.clone().eq([8, 4, 4, 4, 12]) || lengths.eq([32]))
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "ef2b097c5d9d77834c7b14b96fcee656aba850976f68d2efbc946a5d50509524";
    const B: &str = "1b3c1f51aae4a57a9b1d1d0f8f8f3a1d2c3b4a5968778695a4b3c2d1e0f1a2b3";
    const POD: &str = "4cad64d0-7a36-452a-8a08-bd3a694cdad5";
    const POD_: &str = "4cad64d0_7a36_452a_8a08_bd3a694cdad5";
    const HASH: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";

    /// The paths that runtimes make, by who makes them.
    fn known() -> Vec<(String, &'static str, Option<Runtime>, Option<&'static str>)> {
        use Runtime::{Containerd, CriO, Docker, Podman};
        vec![
            (format!("/docker/{A}"), A, Some(Docker), None),
            (format!("/system.slice/docker-{A}.scope"), A, Some(Docker), None),
            (
                format!("/user.slice/user-1000.slice/user@1000.service/app.slice/docker-{A}.scope"),
                A,
                Some(Docker),
                None,
            ),
            // A service manager inside the container.
            (format!("/system.slice/docker-{A}.scope/system.slice/nginx.service"), A, Some(Docker), None),
            (format!("/docker/{A}/buildkit/q7w8"), A, Some(Docker), None),
            // A container in a container.
            (format!("/docker/{A}/docker/{B}"), B, Some(Docker), None),
            (format!("/machine.slice/libpod-{A}.scope"), A, Some(Podman), None),
            (format!("/machine.slice/libpod-{A}.scope/container"), A, Some(Podman), None),
            (format!("/libpod_parent/libpod-{A}"), A, Some(Podman), None),
            (format!("/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope"), A, Some(Podman), None),
            (format!("/libpod_parent/{B}/libpod-{A}"), A, Some(Podman), None),
            (
                format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container"),
                A,
                Some(Podman),
                None,
            ),
            (format!("/kubepods/besteffort/pod{POD}/{A}"), A, None, Some(POD)),
            (format!("/kubepods/pod{POD}/{A}"), A, None, Some(POD)),
            (format!("/kubepods/burstable/pod{HASH}/{A}"), A, None, Some(HASH)),
            (format!("/kubepods/burstable/pod{POD}/crio-{A}"), A, Some(CriO), Some(POD)),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD_}.slice/cri-containerd-{A}.scope"
                ),
                A,
                Some(Containerd),
                Some(POD),
            ),
            (format!("/kubepods.slice/kubepods-pod{POD_}.slice/crio-{A}.scope"), A, Some(CriO), Some(POD)),
            (
                format!(
                    "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{POD_}.slice/crio-{A}.scope/container"
                ),
                A,
                Some(CriO),
                Some(POD),
            ),
            (
                format!(
                    "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{POD_}.slice/docker-{A}.scope"
                ),
                A,
                Some(Docker),
                Some(POD),
            ),
            // containerd set up for cgroupfs below a kubelet set up for systemd.
            (
                format!("/system.slice/containerd.service/kubepods-burstable-pod{POD_}.slice:cri-containerd:{A}"),
                A,
                Some(Containerd),
                Some(POD),
            ),
            (format!("/kubepods-besteffort-pod{POD_}.slice:cri-containerd:{A}"), A, Some(Containerd), Some(POD)),
            // kind: the node is a container.
            (format!("/docker/{B}/kubelet/kubepods/besteffort/pod{POD}/{A}"), A, None, Some(POD)),
            (
                format!(
                    "/system.slice/docker-{B}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{POD_}.slice/cri-containerd-{A}.scope"
                ),
                A,
                Some(Containerd),
                Some(POD),
            ),
            (format!("/docker/{B}/system.slice/containerd.service"), B, Some(Docker), None),
            // Seen from a container with a cgroup namespace of its own.
            (format!("/../cri-containerd-{A}.scope"), A, Some(Containerd), None),
            (format!("/../../pod{POD}/{A}"), A, None, Some(POD)),
            (
                format!(
                    "/../../../kubepods-besteffort.slice/kubepods-besteffort-pod{POD_}.slice/cri-containerd-{A}.scope"
                ),
                A,
                Some(Containerd),
                Some(POD),
            ),
            (format!("/default/{A}"), A, None, None),
            (format!("/system.slice/nerdctl-{A}.scope"), A, Some(Containerd), None),
            (format!("/ecs/0123456789abcdef0123456789abcdef/{A}"), A, None, None),
            (
                "/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-1234567890".to_owned(),
                "0123456789abcdef0123456789abcdef-1234567890",
                None,
                None,
            ),
        ]
    }

    #[test]
    fn paths_of_all_runtimes_name_container_and_pod() {
        for (path, container, runtime, pod_uid) in known() {
            let identity = parse(&format!("0::{path}\n")).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(&*identity.container, container, "{path}");
            assert_eq!(identity.runtime, runtime, "{path}");
            assert_eq!(identity.pod_uid.as_deref(), pod_uid, "{path}");
        }
    }

    #[test]
    fn other_paths_name_none() {
        for path in [
            "/".to_owned(),
            "/init.scope".to_owned(),
            "/user.slice/user-1000.slice/session-3.scope".to_owned(),
            "/system.slice/containerd.service".to_owned(),
            "/system.slice/run-rc2f0.scope".to_owned(),
            format!("/kubepods/burstable/pod{POD}"),
            // Monitors are no members, pods of Podman are no containers.
            format!("/machine.slice/libpod-conmon-{A}.scope"),
            format!("/kubepods.slice/kubepods-pod{POD_}.slice/crio-conmon-{A}.scope"),
            format!("/machine.slice/machine-libpod_pod_{A}.slice"),
            format!("/docker/{}", A.to_uppercase()),
            format!("/docker/{A}0"),
            "/garden/pod-".to_owned(),
            "/é-é/pod".to_owned(),
        ] {
            assert_eq!(parse(&format!("0::{path}")), None, "{path}");
        }
        for text in ["", "\n\n", "x", "0:", "0::", ":::::"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn of_several_hierarchies_the_one_that_tells_most_counts() {
        let text = format!("9:name=systemd:/\n8:pids:/docker/{A}\n4:memory:/kubepods/pod{POD}/{A}\n0::/\n");
        assert_eq!(parse(&text).unwrap().pod_uid.as_deref(), Some(POD));
        let hybrid = format!("12:cpu,cpuacct:/system.slice/docker-{A}.scope\n0::/system.slice/docker-{A}.scope\n");
        assert_eq!(&*parse(&hybrid).unwrap().container, A);
    }

    #[test]
    fn a_process_without_container_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cgroup");
        assert_eq!(identity_in(&file), None);
        std::fs::write(&file, format!("0::/docker/{A}\n")).unwrap();
        assert_eq!(&*identity_in(&file).unwrap().container, A);
    }
}
