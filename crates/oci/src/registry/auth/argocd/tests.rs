// SPDX-License-Identifier: Apache-2.0
use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    let owned = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into()));
    owned.collect()
}

fn add(argo: &mut ArgoCd, kind: &str, pairs: &[(&str, &str)]) -> Result<bool, ArgoCdError> {
    let labels = BTreeMap::from([(SECRET_TYPE.to_owned(), kind.to_owned())]);
    let mut data = map(&[("type", "oci")]);
    data.extend(map(pairs));
    let url = pairs.iter().find(|(key, _)| *key == "url");
    let name = format!("secret argocd/{kind}{}", url.map_or("", |(_, url)| url));
    argo.add_secret(&name, &labels, &data)
}

fn of(argo: &ArgoCd, repository: &str) -> Option<ArgoAccess> {
    argo.access_for(&repository.parse().unwrap()).unwrap()
}

fn who(argo: &ArgoCd, repository: &str) -> String {
    let access = of(argo, repository).unwrap_or_default();
    let pair = access.credentials.pair();
    pair.map_or_else(String::new, |(u, p)| format!("{u}:{}", p.expose()))
}

#[test]
fn a_repository_is_for_its_url_and_a_template_for_all_below() {
    let mut argo = ArgoCd::default();
    for (kind, url, username) in [
        ("repository", "oci://r.example/team/app", "exact"),
        ("repo-creds", "oci://R.example", "host"),
        ("repo-creds", "oci://r.example/team/", "team"),
        ("repo-creds", "oci://r.example:5000/team", "port"),
        ("repository", "oci://registry-1.docker.io/alpine", "hub"),
    ] {
        let pairs = [("url", url), ("username", username), ("password", "p")];
        assert!(add(&mut argo, kind, &pairs).unwrap());
    }
    for (repository, expected) in [
        ("r.example/team/app", "exact:p"),
        ("r.example/team/app/deeper", "team:p"),
        ("r.example/team", "team:p"),
        ("r.example/teams/app", "host:p"),
        ("r.example/other", "host:p"),
        ("r.example:5000/team/app", "port:p"),
        ("r.example:5000/other", ""),
        ("r.example.evil/team/app", ""),
        ("alpine", "hub:p"),
    ] {
        assert_eq!(who(&argo, repository), expected, "{repository}");
    }
    let text = format!("{argo:?}");
    assert!(
        !text.contains("exact") && text.contains("secret argocd/"),
        "{text}"
    );
}

#[test]
fn what_a_repository_leaves_open_comes_from_the_template() {
    let mut argo = ArgoCd::default();
    let repository = [
        ("url", "oci://r.example/app"),
        ("insecureOCIForceHttp", "true"),
        ("proxy", "http://proxy.example:3128"),
        ("noProxy", ".internal"),
    ];
    add(&mut argo, "repository", &repository).unwrap();
    let template = [
        ("url", "oci://r.example"),
        ("username", "u"),
        ("password", "canary"),
        ("insecure", "true"),
    ];
    add(&mut argo, "repo-creds", &template).unwrap();
    let access = of(&argo, "r.example/app").unwrap();
    assert_eq!(
        access.credentials.source(),
        Some("secret argocd/repo-credsoci://r.example")
    );
    assert_eq!(access.transport, Transport::PlainHttpAllowed);
    assert!(access.skip_verify && access.proxy.is_some());
    assert_eq!(access.no_proxy.as_deref(), Some(".internal"));
    assert!(!format!("{access:?}").contains("canary"));
    assert!(
        !of(&argo, "r.example/other")
            .unwrap()
            .transport
            .eq(&access.transport)
    );
}

#[test]
fn what_is_said_is_what_a_client_is_asked_with() {
    let mut argo = ArgoCd::default();
    let pem = rcgen::generate_simple_self_signed(["r.example".to_owned()]).unwrap();
    let (certificate, key) = (pem.cert.pem(), pem.signing_key.serialize_pem());
    let repository = [
        ("url", "oci://r.example/app"),
        ("username", "u"),
        ("insecure", "true"),
        ("tlsClientCertData", &certificate),
        ("tlsClientCertKey", &key),
        ("proxy", "http://u:canary@proxy.example:3128"),
        ("noProxy", "10.0.0.0/8"),
    ];
    add(&mut argo, "repository", &repository).unwrap();
    let template = [("url", "oci://r.example"), ("noProxy", "*")];
    add(&mut argo, "repo-creds", &template).unwrap();
    let certificates = map(&[("r.example", &certificate)]);
    argo.add_certificates("configmap argocd/argocd-tls-certs-cm", &certificates);

    let access = Access::from(of(&argo, "r.example/app").unwrap());
    assert_eq!(access.credentials.pair().unwrap().0, "u");
    let tls = format!("{:?}", access.tls);
    assert!(
        !access.tls.is_verified() && tls.contains("client_certificate: true"),
        "{tls}"
    );
    let ProxyChoice::By(rules) = &access.proxy else {
        panic!("{:?}", access.proxy)
    };
    let proxy = Proxy::parse("http://u:canary@proxy.example:3128", None, None).unwrap();
    assert_eq!(*rules, ProxyRules::through(proxy, "10.0.0.0/8"));
    assert!(!format!("{access:?}").contains("canary"));

    let other = Access::from(of(&argo, "r.example/other").unwrap());
    assert!(other.tls.is_verified() && matches!(other.proxy, ProxyChoice::Default));
    let tls = format!("{:?}", other.tls);
    assert!(tls.contains("authorities: 1"), "{tls}");
}

#[test]
fn other_secrets_are_passed_over() {
    let mut argo = ArgoCd::default();
    let data = map(&[("type", "oci"), ("url", "nonsense")]);
    assert!(!argo.add_secret("x", &BTreeMap::new(), &data).unwrap());
    for (kind, type_of) in [
        ("cluster", "oci"),
        ("repository", "git"),
        ("repository", ""),
    ] {
        assert!(!add(&mut argo, kind, &[("type", type_of)]).unwrap());
    }
    assert!(of(&argo, "r.example/app").is_none());
}

#[test]
fn what_is_malformed_is_named_without_its_value() {
    for (pairs, words) in [
        (vec![("username", "canary")], "'url'"),
        (vec![("url", "https://canary@r.example/app")], "'url'"),
        (vec![("url", "oci://canary@r.example/app")], "'url'"),
        (vec![("url", "oci:///canary")], "'url'"),
        (
            vec![("url", "oci://r.example"), ("insecure", "canary")],
            "'insecure' is neither",
        ),
        (
            vec![("url", "oci://r.example"), ("tlsClientCertData", "canary")],
            "no 'tlsClientCertKey'",
        ),
        (
            vec![("url", "oci://r.example"), ("proxy", "canary proxy")],
            "'proxy'",
        ),
    ] {
        let error = add(&mut ArgoCd::default(), "repository", &pairs).unwrap_err();
        let text = format!("{error} {error:?}").replace("repositoryoci://canary", "");
        assert!(text.contains(words), "{text}");
        assert!(
            !error.to_string().replace(pairs[0].1, "").contains("canary"),
            "{text}"
        );
    }
    let labels = BTreeMap::from([(SECRET_TYPE.to_owned(), "repository".to_owned())]);
    let data = BTreeMap::from([("type".to_owned(), vec![0xff])]);
    let error = ArgoCd::default().add_secret("x", &labels, &data);
    assert!(matches!(error, Err(ArgoCdError::Text { .. })));
}

#[test]
fn two_for_the_same_url_are_ambiguous_unless_one_is_for_a_project() {
    let mut argo = ArgoCd::default();
    let url = ("url", "oci://r.example/app");
    let project = ("project", "p");
    let of_project = [url, project, ("username", "project"), ("password", "p")];
    add(&mut argo, "repository", &of_project).unwrap();
    let plain = [url, ("username", "plain"), ("password", "p")];
    add(&mut argo, "repository", &plain).unwrap();
    assert_eq!(who(&argo, "r.example/app"), "plain:p");
    let again = add(&mut argo, "repository", &[("url", "oci://R.example/app/")]);
    assert!(matches!(again, Err(ArgoCdError::Ambiguous { .. })));
}

#[test]
fn certificates_are_for_a_host_whatever_its_port() {
    let mut argo = ArgoCd::default();
    let pem = rcgen::generate_simple_self_signed(["r.example".to_owned()]).unwrap();
    let data = map(&[("r.example", &pem.cert.pem()), ("bad.example", "nonsense")]);
    argo.add_certificates("configmap argocd/argocd-tls-certs-cm", &data);
    for repository in ["r.example/app", "r.example:5000/app"] {
        let tls = of(&argo, repository).unwrap().tls;
        assert!(format!("{tls:?}").contains("authorities: 1"), "{tls:?}");
    }
    assert!(of(&argo, "s.example/app").is_none());
    let error = argo.access_for(&"bad.example/app".parse().unwrap());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("key bad.example"), "{error}");
}
