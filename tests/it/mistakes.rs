// SPDX-License-Identifier: Apache-2.0
//! Typical mistakes at the command line: each is told with what was tried, on what, why it failed, and where there is
//! something to do, what.

use std::{
    fs,
    io::Write as _,
    process::{Command, Output, Stdio},
};

use wharf_test_support::{
    registry::{Endpoint, FLUX_CONTENT, FakeRegistry, Fault, Rule, layer},
    tls::Authority,
};

struct Person(tempfile::TempDir);

impl Person {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("app")).unwrap();
        fs::write(dir.path().join("app/a.yaml"), "kind: A\n").unwrap();
        Self(dir)
    }

    /// Runs the command with this environment and standard input.
    fn says(&self, args: &[&str], env: &[(&str, &str)], input: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
        command
            .args(args)
            .current_dir(self.0.path())
            .env_clear()
            .env("HOME", self.0.path())
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Who refuses the arguments does not read.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Pulls, and gives what was complained of, in one line.
    fn pull(&self, reference: &str, more: &[&str]) -> String {
        let mut args = vec!["pull", reference, "out"];
        args.extend(more);
        complaint(&self.says(&args, &[], ""))
    }
}

/// What was complained of, and the advice behind it if there is any.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].starts_with("error: could not ") && lines.len() <= 2,
        "{text}"
    );
    assert!(
        lines[1..].iter().all(|line| line.starts_with("hint: ")),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
    text
}

fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

async fn registry(builder: wharf_test_support::registry::Builder) -> FakeRegistry {
    let registry = builder.start().await.unwrap();
    let content = layer(&[("a.yaml", "kind: A\n")]);
    registry.push_artifact("team/app", "1.0.0", content, FLUX_CONTENT);
    registry
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_with_the_wrong_password_or_none() {
    let person = Person::new();
    for builder in [
        FakeRegistry::builder().basic("robot", "canary-right"),
        FakeRegistry::builder().bearer("robot", "canary-right"),
    ] {
        let registry = registry(builder).await;
        let reference = format!("{}/team/app:1.0.0", registry.host());
        let args = [
            "pull",
            &reference,
            "out",
            "--username",
            "robot",
            "--password-stdin",
        ];
        let wrong = complaint(&person.says(&args, &[], "canary-wrong\n"));
        assert_says(
            &wrong,
            &[
                &reference,
                "credentials from --username and --password-stdin were refused",
            ],
        );
        let none = person.pull(&reference, &[]);
        assert_says(
            &none,
            &[
                &reference,
                "no credentials were given",
                "hint: log in with docker login",
            ],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_certificate_is_not_trusted_or_not_theirs() {
    let (person, authority) = (Person::new(), Authority::new("Test CA"));
    let registry = registry(FakeRegistry::builder().tls(&authority.leaf(&["127.0.0.1"]))).await;
    let unknown = person.pull(&format!("{}/team/app:1.0.0", registry.host()), &[]);
    assert_says(
        &unknown,
        &[
            &registry.host(),
            "unknown issuer",
            "Test CA",
            "hint: --ca-file",
        ],
    );
    fs::write(person.0.path().join("ca.pem"), authority.pem()).unwrap();
    let other = format!("localhost:{}/team/app:1.0.0", registry.addr().port());
    let name = person.pull(&other, &["--ca-file", "ca.pem"]);
    assert_says(
        &name,
        &[
            "localhost",
            "certificate",
            "names 127.0.0.1",
            "reach it under one",
        ],
    );
    assert!(!name.contains("hint:"), "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_the_other_protocol() {
    let person = Person::new();
    // A name that is not exempt, led to by the only means there is without a cluster: a proxy.
    let plain = registry(FakeRegistry::builder()).await;
    let proxy = wharf_test_support::proxy::FakeProxy::start();
    proxy.lead("registry.example", plain.addr());
    let reference = format!("registry.example:{}/team/app:1.0.0", plain.addr().port());
    let url = proxy.url();
    let env = [("HTTPS_PROXY", url.as_str()), ("HTTP_PROXY", url.as_str())];
    let https = complaint(&person.says(&["pull", &reference, "out"], &env, ""));
    assert_says(
        &https,
        &[&reference, "not TLS", "hint: --insecure allows plain HTTP"],
    );

    // The reverse: whoever allows plain HTTP is asked in HTTPS first, so that only the certificate can be wrong.
    let authority = Authority::new("Test CA");
    let tls = registry(FakeRegistry::builder().tls(&authority.leaf(&["127.0.0.1"]))).await;
    let reference = format!("{}/team/app:1.0.0", tls.host());
    let plain = person.pull(&reference, &["--insecure"]);
    assert_says(&plain, &[&reference, "certificate"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there() {
    let person = Person::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let refused = person.pull(&format!("{free}/team/app:1.0.0"), &[]);
    assert_says(
        &refused,
        &["no connection to", &free.to_string(), "refused"],
    );
    let unknown = person.pull("registry.invalid/team/app:1.0.0", &[]);
    assert_says(&unknown, &["registry.invalid", "could not be resolved"]);

    let registry = registry(FakeRegistry::builder()).await;
    let host = registry.host();
    let tag = person.pull(&format!("{host}/team/app:2.0.0"), &[]);
    assert_says(&tag, &["tag 2.0.0", &format!("{host}/team/app")]);
    let repository = person.pull(&format!("{host}/team/absent:1.0.0"), &[]);
    assert_says(&repository, &[&format!("{host}/team/absent")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way() {
    let person = Person::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://robot:canary@{free}");
    let args = ["pull", "registry.example/team/app:1.0.0", "out"];
    let down = complaint(&person.says(&args, &[("HTTPS_PROXY", &url)], ""));
    assert_says(
        &down,
        &["registry.example", "proxy", &free.to_string(), "refused"],
    );

    let metadata = person.pull("169.254.169.254/team/app:1.0.0", &[]);
    assert_says(
        &metadata,
        &["169.254.169.254", "metadata", "hint: --egress-allow"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_read_but_not_push() {
    let (person, registry) = (Person::new(), registry(FakeRegistry::builder()).await);
    let body =
        r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
    registry.script(Rule::on(Endpoint::Upload).fault(Fault::status_with(403, &[], body)));
    let reference = format!("{}/team/app:2.0.0", registry.host());
    let denied = complaint(&person.says(&["push", "app", &reference], &[], ""));
    assert_says(
        &denied,
        &[
            "could not push",
            &reference,
            "403",
            "DENIED",
            "hint: who asks may not",
        ],
    );
}
