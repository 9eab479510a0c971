// SPDX-License-Identifier: Apache-2.0
//! Status, written as one merge patch that the API server refuses when the object is no longer the one that was read.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use wharf_api::v1::{OCIRepository, OCIRepositoryStatus};

use super::{
    answered, patch,
    sources::{Cache, lean},
};
use crate::{
    ports::{PortError, StatusWriter},
    source::spec::id_of,
};

/// Under which name our fields are recorded.
const FIELD_MANAGER: &str = "wharf";

pub(super) struct Status {
    client: Client,
    cache: Cache,
}

impl Status {
    pub(super) fn new(client: Client, cache: Cache) -> Self {
        Self { client, cache }
    }

    async fn patch(
        &self,
        source: &OCIRepository,
        body: &Value,
    ) -> Result<Arc<OCIRepository>, PortError> {
        let id = id_of(source);
        let api: Api<OCIRepository> = Api::namespaced(self.client.clone(), &id.namespace);
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let what = format!("status of OCIRepository {id}");
        let patch = Patch::Merge(body);
        let after = answered(what, api.patch_status(&id.name, &params, &patch)).await?;
        let after = Arc::new(lean(after));
        self.cache.advance(source, &after);
        Ok(after)
    }
}

impl StatusWriter for Status {
    fn write<'a>(
        &'a self,
        source: &'a OCIRepository,
        status: &'a OCIRepositoryStatus,
    ) -> BoxFuture<'a, Result<Arc<OCIRepository>, PortError>> {
        async move {
            match body(source, status).map_err(|error| PortError::Other {
                what: format!("status of OCIRepository {}", id_of(source)),
                source: Box::new(error),
            })? {
                Some(body) => self.patch(source, &body).await,
                None => Ok(Arc::new(source.clone())),
            }
        }
        .boxed()
    }
}

/// The patch with its lock, the resource version that was read: no other object or state ever has the same, so an object
/// that was deleted and made again is another one too. `None` when nothing changed.
fn body(
    source: &OCIRepository,
    status: &OCIRepositoryStatus,
) -> Result<Option<Value>, serde_json::Error> {
    let before = source
        .status
        .as_ref()
        .map(serde_json::to_value)
        .transpose()?
        .unwrap_or_else(|| json!({}));
    let patch = patch::between(&before, &serde_json::to_value(status)?);
    let lock =
        json!({"resourceVersion": source.metadata.resource_version, "uid": source.metadata.uid});
    Ok(patch.map(|status| json!({"metadata": lock, "status": status})))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(status: &Value) -> OCIRepository {
        serde_json::from_value(json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
            "metadata": {"name": "app", "namespace": "apps", "uid": "u1", "resourceVersion": "7"},
            "spec": {"url": "oci://a.example/app", "interval": "1m"}, "status": status,
        }))
        .unwrap()
    }

    fn full() -> Value {
        json!({
            "observedGeneration": 2, "url": "u", "observedIgnore": "", "lastHandledReconcileAt": "now",
            "conditions": [{"type": "Ready", "status": "True", "reason": "R", "message": "m",
                "lastTransitionTime": "2026-01-02T03:04:05Z"}],
            "artifact": {"digest": "sha256:aa", "path": "p", "url": "u", "revision": "r", "size": 1,
                "lastUpdateTime": "2026-01-02T03:04:05Z", "metadata": {"a": "1"}},
        })
    }

    fn patch(before: &Value, after: Value) -> Option<Value> {
        body(&source(before), &serde_json::from_value(after).unwrap()).unwrap()
    }

    #[test]
    fn the_same_status_needs_no_request() {
        assert_eq!(patch(&full(), full()), None);
    }

    #[test]
    fn every_field_that_went_away_is_taken_away() {
        let patch = patch(&full(), json!({"observedGeneration": 2})).unwrap();
        let gone = [
            "url",
            "artifact",
            "observedIgnore",
            "lastHandledReconcileAt",
            "conditions",
        ];
        for field in gone {
            assert_eq!(patch["status"].get(field), Some(&Value::Null), "{field}");
        }
        assert_eq!(patch["status"].get("observedGeneration"), None);
    }

    #[test]
    fn the_lock_is_what_was_read() {
        let patch = patch(&json!({}), full()).unwrap();
        assert_eq!(
            patch["metadata"],
            json!({"resourceVersion": "7", "uid": "u1"})
        );
    }
}
