// SPDX-License-Identifier: Apache-2.0
//! Every wrong challenge: what a registry may say in `WWW-Authenticate`, with 401.

use wharf_oci::registry::{Access, Client, Credentials};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, Rule},
};

use super::{DEADLINE, Finding, SECRETS};
use crate::support::{REPOSITORY, everything, seed, tag};

/// `{base}` is the registry's own address.
const CHALLENGES: [&str; 36] = [
    "",
    ",",
    "Bearer",
    "Bearer ",
    "Bearer realm",
    "Bearer realm=",
    "Bearer realm=\"\"",
    "Bearer realm=\"/token\"",
    "Bearer realm=\"token\"",
    "Bearer realm=\"//169.254.169.254/token\"",
    "Bearer realm=\"http://169.254.169.254/token?sig=canary-signature\"",
    "Bearer realm=\"http://[fe80::1]/token\"",
    "Bearer realm=\"http://2852039166/token\"",
    "Bearer realm=\"http://[::ffff:169.254.169.254]/token\"",
    "Bearer realm=\"ftp://127.0.0.1/token\"",
    "Bearer realm=\"file:///etc/passwd\"",
    "Bearer realm=\"javascript:alert(1)\"",
    "Bearer realm=\"http://user:canary-password@127.0.0.1:1/token\"",
    "Bearer realm=\"http://127.0.0.1:1/token\"",
    "Bearer realm=\"http://127.0.0.1:0/token\"",
    "Bearer realm=\"http://127.0.0.1:99999/token\"",
    "Bearer realm=\"http://name.invalid/token\"",
    "Bearer realm=\"{base}/nothing-here\"",
    "Bearer realm=\"{base}/v2/\"",
    "Bearer realm=\"{base}/token\",service=\"a b&c=d#e\"",
    "Bearer realm=\"{base}/token\",scope=\"repository:other/one:pull,push\"",
    "Bearer realm=\"{base}/token\",scope=\"registry:catalog:*\"",
    "Bearer realm=\"{base}/token",
    "Bearer realm=\"{base}/token\\\"",
    "Bearer realm={base}/token, Bearer realm=\"{base}/token\"",
    "Basic",
    "Basic realm=\"x\", Bearer realm=\"{base}/token\"",
    "Negotiate",
    "Digest realm=\"x\", nonce=\"y\"",
    "AWS4-HMAC-SHA256 Credential=\"x\"",
    "Bearer realm=\"{base}/token\", error=\"insufficient_scope\"",
];

/// All of them, with a password and without.
pub(super) fn all(client: &Client) -> impl Iterator<Item = impl Future<Output = Finding> + use<>> {
    let both = CHALLENGES
        .into_iter()
        .flat_map(|text| [(text, true), (text, false)]);
    let client = client.clone();
    both.map(move |(challenge, with_password)| play(client.clone(), challenge, with_password))
}

/// The registry repeats its challenge whatever it is shown, so that there is no success.
async fn play(client: Client, challenge: &'static str, with_password: bool) -> Finding {
    let name = format!("challenge {challenge:?}, password {with_password}");
    let registry = FakeRegistry::builder().bind(super::own_address());
    let registry = registry.start().await.unwrap();
    seed(&registry, "layer");
    let value = challenge.replace("{base}", registry.base_url());
    let fault = Fault::status_with(401, &[("www-authenticate", &value)], "canary");
    registry.script(Rule::on(Endpoint::Manifest).fault(fault));
    let credentials = if with_password {
        Credentials::basic("robot", "canary-password", "secret apps/regcred")
    } else {
        Credentials::Anonymous
    };
    let access = Access {
        credentials,
        ..Access::default()
    };
    let repository = format!("{}/{REPOSITORY}", registry.host()).parse().unwrap();
    let session = client.session(repository, &access).unwrap();
    let target = tag("1.0.0");
    let complaint = match tokio::time::timeout(DEADLINE, session.resolve(&target)).await {
        Err(_) => Some("no end".to_owned()),
        Ok(Ok(got)) => Some(format!("taken for a success: {}", got.revision())),
        Ok(Err(error)) => {
            let all = everything(&error);
            let shown = SECRETS.into_iter().find(|secret| all.contains(secret));
            let asked = registry.requests().len();
            match shown {
                Some(secret) => Some(format!("shows {secret}: {all}")),
                None if !error.to_string().contains("resolve tag 1.0.0") => {
                    Some(format!("no operation: {error}"))
                }
                None if asked > 10 => Some(format!("{asked} requests")),
                None => None,
            }
        }
    };
    Finding {
        name,
        failed: true,
        complaint,
    }
}
