//! Brings processes and pods together. A process is often there before the cluster has told of its pod.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Options,
    client::{MAX_PODS, News},
    pod::{InPod, Pod},
};
use crate::capture::{Process, container::Container};

/// How long a pod is remembered after it was deleted: its processes end, and their last calls are told, a while later.
const KEPT: Duration = Duration::from_secs(300);

/// Traced processes in pods that are remembered. What comes past it is told as it is at once, and not again.
const MAX_MEMBERS: usize = 16 << 10;

/// What is known of the node's pods.
#[derive(Debug)]
pub struct Pods {
    options: Options,
    /// Whether somebody tells of pods.
    told_of: bool,
    /// By the uid in their cgroups' paths.
    pods: HashMap<Arc<str>, Known>,
    /// Traced processes, by pid.
    members: HashMap<u32, Member>,
}

#[derive(Debug)]
struct Known {
    pod: Arc<Pod>,
    gone: Option<Instant>,
}

/// A process in a pod, as it was told last.
#[derive(Debug)]
struct Member {
    pod: Arc<str>,
    container: Arc<Container>,
    process: Arc<Process>,
    /// Until when it waits for its pod.
    waits: Option<Instant>,
    /// It has ended, and what it did still waits.
    ended: bool,
}

impl Pods {
    pub fn new(options: Options, told_of: bool) -> Self {
        Self { options, told_of, pods: HashMap::new(), members: HashMap::new() }
    }

    /// The pod of a container.
    pub fn of(&self, container: &Container) -> Option<&Arc<Pod>> {
        self.pods.get(container.pod.as_ref()?.uid.as_ref()?).map(|known| &known.pod)
    }

    /// Whether this pod, by the uid in its cgroups' paths, is known.
    pub fn knows(&self, uid: &str) -> bool {
        self.pods.contains_key(uid)
    }

    /// Whether the container's pod may still become known.
    pub fn may_come(&self, container: &Container) -> bool {
        let uid = container.pod.as_ref().and_then(|pod| pod.uid.as_ref());
        self.told_of && uid.is_some_and(|uid| !self.pods.contains_key(uid))
    }

    /// Adds what is known of the pod to a process that is about to be told, and remembers it for what becomes known
    /// later. Whether the pod is not known, so that it should be asked for.
    pub fn describe(&mut self, process: Process, container: &Arc<Container>, now: Instant) -> (Arc<Process>, bool) {
        let uid = container.pod.as_ref().and_then(|pod| pod.uid.clone());
        let pod = uid.as_ref().and_then(|uid| self.pods.get(uid)).map(|known| &known.pod);
        let unknown = pod.is_none() && self.may_come(container);
        let told =
            pod.map_or_else(|| InPod::of_runtime(container), |pod| Some(pod.told(Some(container), &self.options)));
        let remembers = self.members.len() < MAX_MEMBERS || self.members.contains_key(&process.pid);
        let awaits_pod = unknown && remembers && !self.options.wait.is_zero();
        let process = Arc::new(with_image(Process { pod: told, awaits_pod, ..process }, pod.map(|pod| &**pod)));
        if let Some(uid) = uid
            && self.told_of
            && remembers
        {
            let member = Member {
                pod: uid,
                container: Arc::clone(container),
                process: Arc::clone(&process),
                waits: awaits_pod.then(|| now + self.options.wait),
                ended: false,
            };
            self.members.insert(process.pid, member);
        }
        (process, unknown)
    }

    /// The process is in no pod.
    pub fn forget(&mut self, pid: u32) {
        self.members.remove(&pid);
    }

    /// The process has ended. What it did may still wait for its pod.
    pub fn ended(&mut self, pid: u32) {
        match self.members.get_mut(&pid) {
            Some(member) if member.waits.is_some() => member.ended = true,
            _ => self.forget(pid),
        }
    }

    /// Those that have ended and wait no longer.
    fn bury(&mut self) {
        self.members.retain(|_, member| !member.ended || member.waits.is_some());
    }

    /// Takes what the cluster tells. Returns the processes of which more is known now.
    pub fn news(&mut self, news: News, now: Instant) -> Vec<Arc<Process>> {
        match news {
            News::Pod(pod) => {
                let uid = Arc::clone(&pod.cgroup_uid);
                if self.pods.len() >= MAX_PODS && !self.pods.contains_key(&uid) {
                    return Vec::new();
                }
                let pod: Arc<Pod> = pod.into();
                self.pods.insert(Arc::clone(&uid), Known { pod: Arc::clone(&pod), gone: None });
                let options = &self.options;
                let members = self.members.values_mut().filter(|member| member.pod == uid);
                let told = |member: &mut Member| {
                    let told = pod.told(Some(&member.container), options);
                    member.tell(Some(told), Some(&pod))
                };
                let told = members.filter_map(told).collect();
                self.bury();
                told
            }
            News::Gone(uid) => {
                if let Some(known) = self.pods.get_mut(&uid) {
                    known.gone = Some(now);
                }
                Vec::new()
            }
            News::Complete | News::Trouble(_) => Vec::new(),
        }
    }

    /// When [`Pods::expire`] has something to do.
    pub fn next(&self) -> Option<Instant> {
        let waits = self.members.values().filter_map(|member| member.waits);
        waits.chain(self.pods.values().filter_map(|known| Some(known.gone? + KEPT))).min()
    }

    /// Forgets pods that are long gone. Returns the processes that have waited long enough: what is known of them is all.
    pub fn expire(&mut self, now: Instant) -> Vec<Arc<Process>> {
        self.pods.retain(|_, known| known.gone.is_none_or(|gone| now < gone + KEPT));
        let late = self.members.values_mut().filter(|member| member.waits.is_some_and(|until| until <= now));
        let told = late.filter_map(|member| member.tell(member.process.pod.clone(), None)).collect();
        self.bury();
        told
    }
}

impl Member {
    /// The process with what is known now; `None` when that was told.
    fn tell(&mut self, told: Option<InPod>, pod: Option<&Pod>) -> Option<Arc<Process>> {
        if self.process.pod == told && !self.process.awaits_pod {
            return None;
        }
        self.waits = None;
        let process = Process { pod: told, awaits_pod: false, ..(*self.process).clone() };
        self.process = Arc::new(with_image(process, pod));
        Some(Arc::clone(&self.process))
    }
}

/// What the runtime's files do not say of the container's image, the pod's status does.
fn with_image(process: Process, pod: Option<&Pod>) -> Process {
    let Some(container) = &process.container else { return process };
    let Some(image) = pod.and_then(|pod| pod.image(&container.id)) else { return process };
    let container = Container { image: container.image.clone().or(image), ..(**container).clone() };
    Process { container: Some(Arc::new(container)), ..process }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::container::PodOf;

    const UID: &str = "4cad64d0-7a36-452a-8a08-bd3a694cdad5";

    fn container(uid: Option<&str>) -> Arc<Container> {
        let pod = uid.map(|uid| PodOf { uid: Some(uid.into()), ..PodOf::default() });
        Arc::new(Container { id: "c1".into(), pod, ..Container::default() })
    }

    fn process(pid: u32) -> Process {
        Process { pid, ..Process::default() }
    }

    fn pod(name: &str) -> News {
        let pod = Pod { uid: UID.into(), cgroup_uid: UID.into(), name: name.into(), ..Pod::default() };
        News::Pod(Box::new(pod))
    }

    fn name(process: &Process) -> Option<&str> {
        process.pod.as_ref()?.name.as_deref()
    }

    fn pods() -> (Pods, Instant) {
        (Pods::new(Options::default(), true), Instant::now())
    }

    #[test]
    fn a_process_is_told_again_when_its_pod_is_known() {
        let (mut pods, now) = pods();
        let (first, unknown) = pods.describe(process(7), &container(Some(UID)), now);
        assert!(unknown && first.awaits_pod && name(&first).is_none());
        pods.describe(process(8), &container(Some("other")), now);
        let again = pods.news(pod("agent-0"), now);
        assert_eq!(again.len(), 1);
        assert!(!again[0].awaits_pod && again[0].pid == 7);
        assert_eq!(name(&again[0]), Some("agent-0"));
        let (next, unknown) = pods.describe(process(9), &container(Some(UID)), now);
        assert!(!unknown && !next.awaits_pod);
        assert_eq!(name(&next), Some("agent-0"));
        // Nothing new; then something.
        assert!(pods.news(pod("agent-0"), now).is_empty());
        assert_eq!(pods.news(pod("renamed"), now).len(), 2);
    }

    #[test]
    fn a_process_waits_only_so_long() {
        let (mut pods, now) = pods();
        pods.describe(process(7), &container(Some(UID)), now);
        assert_eq!(pods.next(), Some(now + Options::default().wait));
        assert!(pods.expire(now).is_empty());
        let late = pods.expire(now + Options::default().wait);
        assert!(late.len() == 1 && !late[0].awaits_pod);
        assert_eq!(pods.next(), None);
        // It is told all the same when it comes at last.
        assert_eq!(pods.news(pod("agent-0"), now).len(), 1);
    }

    #[test]
    fn nobody_waits_for_what_nobody_tells() {
        let mut pods = Pods::new(Options::default(), false);
        let (process, unknown) = pods.describe(process(7), &container(Some(UID)), Instant::now());
        assert!(!unknown && !process.awaits_pod);
        assert_eq!(process.pod.as_ref().unwrap().uid.as_deref(), Some(UID));
        assert_eq!(pods.next(), None);
    }

    #[test]
    fn processes_outside_of_pods_are_as_they_were() {
        let (mut pods, now) = pods();
        let (told, unknown) = pods.describe(process(7), &container(None), now);
        assert_eq!((*told == process(7), unknown), (true, false));
        assert!(pods.members.is_empty());
    }

    #[test]
    fn processes_that_have_ended_are_told_again_only_if_they_waited() {
        let (mut pods, now) = pods();
        pods.describe(process(7), &container(Some(UID)), now);
        pods.describe(process(8), &container(Some(UID)), now);
        pods.forget(8);
        pods.ended(7);
        let again = pods.news(pod("agent-0"), now);
        assert_eq!(again.iter().map(|process| process.pid).collect::<Vec<_>>(), [7]);
        assert!(pods.members.is_empty());

        pods.describe(process(9), &container(Some(UID)), now);
        pods.ended(9);
        assert!(pods.members.is_empty());
        pods.describe(process(10), &container(Some("other")), now);
        pods.ended(10);
        assert_eq!(pods.expire(now + Options::default().wait).len(), 1);
        assert!(pods.members.is_empty());
    }

    #[test]
    fn deleted_pods_are_known_for_a_while() {
        let (mut pods, now) = pods();
        pods.news(pod("agent-0"), now);
        pods.news(News::Gone(UID.into()), now);
        let before = now + KEPT - Duration::from_millis(1);
        pods.expire(before);
        assert!(pods.of(&container(Some(UID))).is_some());
        assert_eq!(pods.next(), Some(now + KEPT));
        pods.expire(now + KEPT);
        assert!(pods.of(&container(Some(UID))).is_none());
    }

    #[test]
    fn numbers_are_bounded() {
        let (mut pods, now) = pods();
        for n in 0..MAX_PODS + 10 {
            let uid: Arc<str> = format!("{n}").into();
            pods.news(News::Pod(Box::new(Pod { cgroup_uid: uid, ..Pod::default() })), now);
        }
        assert_eq!(pods.pods.len(), MAX_PODS);
        for pid in 0..u32::try_from(MAX_MEMBERS).unwrap() + 10 {
            let (told, _) = pods.describe(process(pid), &container(Some(UID)), now);
            assert_eq!(told.awaits_pod, pid < u32::try_from(MAX_MEMBERS).unwrap());
        }
        assert_eq!(pods.members.len(), MAX_MEMBERS);
    }
}
