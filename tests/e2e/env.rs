// SPDX-License-Identifier: Apache-2.0
//! The servers that all tests share. They are started by the first test that asks, and end with the process.

use tokio::sync::OnceCell;
use wharf_test_support::servers::{
    ApiServer, Distribution, Launch, ReferrersRegistry, foreign_crds, scratch,
};

/// The API server, with Wharf's definitions as `wharf crds` prints them.
pub(crate) async fn api() -> &'static ApiServer {
    static API: OnceCell<ApiServer> = OnceCell::const_new();
    API.get_or_init(async || {
        let api = ApiServer::start().await;
        let printed = wharf().arg("crds").output("").await;
        assert!(printed.status.success());
        let folder = scratch("crds");
        let file = folder.path().join("wharf.yaml");
        std::fs::write(&file, printed.stdout).unwrap();
        api.define(&file).await;
        api
    })
    .await
}

/// The same, with the kinds that Flux's controllers want.
pub(crate) async fn api_with_flux_kinds() -> &'static ApiServer {
    static DEFINED: OnceCell<()> = OnceCell::const_new();
    let api = api().await;
    DEFINED.get_or_init(|| api.define(&FLUX)).await;
    api
}

static FLUX: std::sync::LazyLock<std::path::PathBuf> = std::sync::LazyLock::new(foreign_crds);

/// A registry with TLS under a private authority, and a password.
pub(crate) async fn secured() -> &'static Distribution {
    static REGISTRY: OnceCell<Distribution> = OnceCell::const_new();
    REGISTRY.get_or_init(Distribution::start_secured).await
}

/// A registry with plain HTTP, open to all.
pub(crate) async fn plain() -> &'static Distribution {
    static REGISTRY: OnceCell<Distribution> = OnceCell::const_new();
    REGISTRY.get_or_init(Distribution::start).await
}

/// A registry with the referrers API, plain HTTP, open to all.
pub(crate) async fn referrers() -> &'static ReferrersRegistry {
    static REGISTRY: OnceCell<ReferrersRegistry> = OnceCell::const_new();
    REGISTRY.get_or_init(ReferrersRegistry::start).await
}

/// The `wharf` that this build made.
pub(crate) fn wharf() -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_wharf"))
}
