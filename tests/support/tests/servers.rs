// SPDX-License-Identifier: Apache-2.0
//! The real servers start, answer, and are gone afterwards, whatever happens to the test.
#![expect(clippy::unwrap_used, reason = "a test's helper may stop the test")]

use std::path::Path;
use std::process::Command;

use http::Method;
use wharf_test_support::servers::{
    ApiServer, ControllerManager, Distribution, Etcd, KustomizeController, Process,
    ReferrersRegistry, eventually, foreign_crds, http::Http, scratch,
};

/// Whether a process is there, be it a zombie: nothing may be left.
fn lives(id: u32) -> bool {
    Path::new(&format!("/proc/{id}")).exists()
}

#[test]
fn a_server_is_gone_after_its_test_panics() {
    let (tell, told) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let etcd = runtime.block_on(Etcd::start());
        tell.send(etcd.id()).unwrap();
        assert!(!lives(etcd.id()), "as a failing assertion does");
    });
    assert!(test.join().is_err());
    assert!(!lives(told.recv().unwrap()));
}

#[tokio::test]
async fn children_of_a_process_end_with_it() {
    let folder = scratch("children");
    let log = folder.path().join("log");
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 600 & echo $!; wait"]);
    let process = Process::spawn("sh", &mut command, &log);
    let child = eventually("the child's id", async || {
        process
            .log()
            .trim()
            .parse::<u32>()
            .map_err(|error| error.to_string())
    });
    let child = child.await;
    assert!(lives(child));
    drop(process);
    // It is reaped by whoever inherited it, so not at once.
    eventually("no child", async || {
        (!lives(child)).then_some(()).ok_or_else(String::new)
    })
    .await;
}

/// The test starts itself again as a process that shares a server among its tests and is killed.
#[tokio::test]
async fn a_shared_server_and_its_folder_are_gone_after_the_test_process_is_killed() {
    const VICTIM: &str = "WHARF_TEST_VICTIM";
    if let Some(report) = std::env::var_os(VICTIM) {
        let folder = scratch("victim");
        let log = folder.path().join("log");
        let sleep = Process::spawn("sleep", Command::new("sleep").arg("600"), &log);
        std::fs::write(
            report,
            format!("{} {}", sleep.id(), folder.path().display()),
        )
        .unwrap();
        std::mem::forget(sleep);
        std::process::abort();
    }
    let folder = scratch("report");
    let report = folder.path().join("report");
    let name = "a_shared_server_and_its_folder_are_gone_after_the_test_process_is_killed";
    let ended = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(VICTIM, &report)
        .output()
        .unwrap();
    assert!(!ended.status.success());
    let report = std::fs::read_to_string(report).unwrap();
    let (id, path) = report.split_once(' ').unwrap();
    let (id, path) = (id.parse().unwrap(), Path::new(path));
    eventually("nothing is left", async || {
        (!lives(id) && !path.exists())
            .then_some(())
            .ok_or_else(|| report.clone())
    })
    .await;
}

#[tokio::test]
async fn a_process_that_ends_early_is_told_with_the_end_of_its_log() {
    let folder = scratch("early");
    let mut command = Command::new("sh");
    command.args(["-c", "echo the port is taken >&2; exit 3"]);
    let mut process = Process::spawn("sh", &mut command, &folder.path().join("log"));
    let error = process
        .ready(async |_| Err::<(), _>("not yet".into()))
        .await
        .unwrap_err();
    assert!(
        error.contains("the port is taken") && error.contains("3"),
        "{error}"
    );
}

#[tokio::test]
async fn a_cluster_keeps_objects_and_empties_deleted_namespaces() {
    let api = ApiServer::start().await;
    let manager = ControllerManager::start(&api).await;
    api.namespace("apps").await;
    api.apply(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: apps}, data: {k: v}}",
    )
    .await;
    let path = "/api/v1/namespaces/apps/configmaps/a";
    assert_eq!(api.get(path).await.unwrap()["data"]["k"], "v");
    assert_eq!(
        api.kubectl(&["get", "cm", "a", "-n", "apps", "-o", "jsonpath={.data.k}"])
            .await,
        "v"
    );
    let refused = api
        .try_kubectl(&["apply", "-f", "-"], "kind: Nothing")
        .await;
    assert!(refused.is_err());

    api.kubectl(&["delete", "namespace", "apps", "--wait=false"])
        .await;
    eventually("the namespace is gone", async || {
        match api.get("/api/v1/namespaces/apps").await {
            None => Ok(()),
            Some(namespace) => Err(namespace.to_string()),
        }
    })
    .await;

    api.define(&foreign_crds()).await;
    let kustomize = KustomizeController::start(&api).await;
    let ids = [api.id(), manager.id(), kustomize.id()];
    assert!(ids.into_iter().all(lives));
    drop((kustomize, manager, api));
    assert!(!ids.into_iter().any(lives));
}

#[tokio::test]
async fn registries_take_and_give_blobs() {
    let plain = Distribution::start().await;
    let secured = Distribution::start_secured().await;
    let referrers = ReferrersRegistry::start().await;
    let bases = [plain.base_url(), secured.base_url(), referrers.base_url()];
    let clients = [plain.http(), secured.http(), Http::plain()];
    for (base, http) in bases.iter().zip(clients) {
        let begun = http
            .send(
                Method::POST,
                &format!("{base}/v2/a/b/blobs/uploads/"),
                &[],
                "",
            )
            .await;
        assert_eq!(begun.unwrap().status, 202, "{base}");
    }
    let anonymous = Http::trusting(secured.authority().unwrap());
    let refused = anonymous
        .get(&format!("{}/v2/", secured.base_url()))
        .await
        .unwrap();
    assert_eq!(refused.status, 401);
    let stranger = wharf_test_support::tls::Authority::new("another");
    assert!(
        Http::trusting(stranger.pem())
            .get(&secured.base_url())
            .await
            .is_err()
    );
    assert!(secured.authority_file().is_file());
}
