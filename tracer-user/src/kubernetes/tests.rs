use super::*;

fn endpoint(options: &Options, environment: &[(&str, &str)]) -> Result<Option<Endpoint>, String> {
    let variable = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    options.endpoint(&variable).map_err(|error| error.to_string())
}

const POD: [(&str, &str); 3] =
    [("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("KUBERNETES_SERVICE_PORT", "443"), ("NODE_NAME", "node-1")];

/// Options whose credentials are there.
fn with_files(folder: &tempfile::TempDir) -> Options {
    let (token_file, ca_file) = (folder.path().join("token"), folder.path().join("ca.crt"));
    std::fs::write(&token_file, "t").unwrap();
    std::fs::write(&ca_file, "pem").unwrap();
    Options { token_file, ca_file, ..Options::default() }
}

#[test]
fn in_a_pod_the_api_server_is_asked_and_elsewhere_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let options = with_files(&folder);
    let found = endpoint(&options, &POD).unwrap().unwrap();
    assert_eq!((found.url.to_string().as_str(), found.node.as_str()), ("https://10.0.0.1:443/", "node-1"));
    assert_eq!((found.kubelet, found.trust), (false, Trust::Authorities(b"pem".to_vec())));
    let six = [("KUBERNETES_SERVICE_HOST", "fd00::1"), POD[1], POD[2]];
    assert_eq!(endpoint(&options, &six).unwrap().unwrap().url.to_string(), "https://[fd00::1]:443/");
    assert_eq!(endpoint(&options, &[]), Ok(None));
    assert_eq!(endpoint(&Options { source: Source::None, ..options.clone() }, &POD), Ok(None));
    // A pod that has no token may not ask.
    assert_eq!(endpoint(&Options { token_file: folder.path().join("none"), ..options }, &POD), Ok(None));
}

#[test]
fn what_is_missing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let options = with_files(&folder);
    let error = |options: &Options, environment: &[(&str, &str)]| endpoint(options, environment).unwrap_err();
    assert!(error(&options, &POD[..2]).contains("NODE_NAME"));
    assert!(error(&Options { source: Source::Api, ..options.clone() }, &[]).contains("kubernetes.endpoint"));
    assert!(error(&Options { source: Source::Kubelet, ..options.clone() }, &POD).contains("kubelet"));
    assert!(error(&Options { ca_file: folder.path().join("none"), ..options.clone() }, &POD).contains("cannot read"));
    assert!(error(&Options { endpoint: Some("ftp://x".into()), ..options.clone() }, &POD).contains("http"));
    assert!(error(&Options { node: Some("a&b".into()), ..options }, &POD).contains("name"));
}

#[test]
fn the_kubelet_needs_no_node_name_and_http_no_certificates() {
    let options = Options {
        source: Source::Kubelet,
        endpoint: Some("http://127.0.0.1:10255".into()),
        ca_file: "/nowhere".into(),
        poll: Duration::ZERO,
        ..Options::default()
    };
    let found = endpoint(&options, &[]).unwrap().unwrap();
    assert!(found.kubelet && found.trust == Trust::Anybody && found.node.is_empty());
    assert_eq!(found.poll, Duration::from_secs(1));
}

#[test]
fn only_the_kubelet_may_go_unverified() {
    let folder = tempfile::tempdir().unwrap();
    let verified = with_files(&folder);
    let options = Options { insecure_skip_verify: true, ca_file: "/nowhere".into(), ..verified.clone() };
    let kubelet =
        Options { source: Source::Kubelet, endpoint: Some("https://10.0.0.7:10250".into()), ..options.clone() };
    assert_eq!(endpoint(&kubelet, &POD).unwrap().unwrap().trust, Trust::Anybody);
    let authority = Options { insecure_skip_verify: false, ca_file: verified.ca_file, ..kubelet };
    assert_eq!(endpoint(&authority, &POD).unwrap().unwrap().trust, Trust::Authorities(b"pem".to_vec()));
    for source in [Source::Auto, Source::Api] {
        let error = endpoint(&Options { source, ..options.clone() }, &POD).unwrap_err();
        assert!(error.contains("for the kubelet alone"), "{error}");
    }
}
