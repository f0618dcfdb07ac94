use std::cell::Cell;

use super::*;

const ID: &str = "ef2b097c5d9d77834c7b14b96fcee656aba850976f68d2efbc946a5d50509524";

fn identity_of(pid: u32) -> Option<Identity> {
    let pod_uid = Some("4cad64d0-7a36-452a-8a08-bd3a694cdad5".into());
    (pid < 10).then(|| Identity { container: ID.into(), runtime: None, pod_uid })
}

fn named(_: u32, identity: &Identity) -> Container {
    Container { id: Arc::clone(&identity.container), name: Some("agent".into()), ..Container::default() }
}

fn nameless(_: u32, identity: &Identity) -> Container {
    Container { id: Arc::clone(&identity.container), ..Container::default() }
}

#[test]
fn files_are_read_once_a_container() {
    let mut containers = Containers::default();
    let now = Instant::now();
    let reads = Cell::new(0);
    let facts = |pid: u32, identity: &Identity| {
        reads.set(reads.get() + 1);
        named(pid, identity)
    };
    let first = containers.of_at(1, now, identity_of, facts).unwrap();
    let second = containers.of_at(2, now + Duration::from_secs(60), identity_of, facts).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(reads.get(), 1);
    assert_eq!(first.pod.as_ref().unwrap().uid.as_deref(), Some("4cad64d0-7a36-452a-8a08-bd3a694cdad5"));
    assert!(containers.of_at(10, now, identity_of, facts).is_none());
}

#[test]
fn what_is_not_written_yet_is_looked_for_again_but_not_for_ever() {
    let mut containers = Containers::default();
    let mut now = Instant::now();
    assert_eq!(containers.of_at(1, now, identity_of, nameless).unwrap().name, None);
    // Too soon.
    assert_eq!(containers.of_at(1, now, identity_of, named).unwrap().name, None);
    now += LOOK_AGAIN;
    assert_eq!(containers.of_at(1, now, identity_of, named).unwrap().name.as_deref(), Some("agent"));

    let mut containers = Containers::default();
    for _ in 0..MAX_LOOKS {
        assert_eq!(containers.of_at(1, now, identity_of, nameless).unwrap().name, None);
        now += LOOK_AGAIN;
    }
    assert_eq!(containers.of_at(1, now, identity_of, named).unwrap().name, None);
}

#[test]
fn without_metadata_no_file_is_read() {
    let mut containers = Containers::new(Options { metadata: false, ..Options::default() });
    let container = containers.of_at(1, Instant::now(), identity_of, |_, _| panic!("read")).unwrap();
    assert_eq!((&*container.id, container.name.clone()), (ID, None));
}

#[test]
fn the_oldest_container_is_forgotten_first() {
    let mut containers = Containers::default();
    let identity = |pid: u32| Some(Identity { container: format!("{pid}").into(), runtime: None, pod_uid: None });
    for pid in 0..u32::try_from(CONTAINERS_KEPT).unwrap() + 10 {
        containers.of_at(pid, Instant::now(), identity, named);
    }
    assert_eq!(containers.known.len(), CONTAINERS_KEPT);
    assert!(!containers.known.contains_key("0") && containers.known.contains_key("10"));
}

#[test]
fn only_chosen_labels_are_told() {
    let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
    let container = Container { labels, ..Container::default() };
    let told = |names: &[&str]| {
        let options = Options { labels: names.iter().map(|name| (*name).to_owned()).collect(), ..Options::default() };
        container.told(&options).labels.into_keys().collect::<Vec<_>>()
    };
    assert!(told(&[]).is_empty());
    assert_eq!(told(&["b", "c"]), ["b"]);
    assert_eq!(told(&["*"]), ["a", "b"]);
}
