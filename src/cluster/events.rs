// SPDX-License-Identifier: Apache-2.0
//! Kubernetes events about sources. Best effort and bounded in time: an event that cannot be written is logged.

use std::{collections::BTreeMap, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{self, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{Api, Client, Resource, ResourceExt, api::PostParams};
use wharf_api::v1::OCIRepository;

use crate::{
    ports::EventSink,
    source::{report::Event, spec::id_of},
};

const COMPONENT: &str = "wharf";
/// An event is not worth waiting for.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the API server accepts as a note.
const MAX_MESSAGE: usize = 1024;
/// Annotations of an object with this prefix are copied to its events. Source: the contract, "Events".
const COPIED: &str = "event.toolkit.fluxcd.io/";
/// `generateName` gets five characters more, and names end at 253.
const MAX_NAME: usize = 240;

pub(super) struct Events {
    client: Client,
}

impl Events {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }
}

impl EventSink for Events {
    fn publish<'a>(&'a self, source: &'a OCIRepository, event: &'a Event) -> BoxFuture<'a, ()> {
        async move {
            let id = id_of(source);
            let api: Api<v1::Event> = Api::namespaced(self.client.clone(), &id.namespace);
            let object = object(source, event, Timestamp::now());
            let params = PostParams::default();
            match tokio::time::timeout(PATIENCE, api.create(&params, &object)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(source = %id, reason = event.reason, error = %error, "could not write an event"),
                Err(_) => tracing::warn!(source = %id, reason = event.reason, "writing an event took too long"),
            }
        }
        .boxed()
    }
}

fn object(source: &OCIRepository, event: &Event, now: Timestamp) -> v1::Event {
    let id = id_of(source);
    let name: String = id.name.chars().take(MAX_NAME).collect();
    v1::Event {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: Some(id.namespace.clone()),
            annotations: annotations(source, event),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(OCIRepository::api_version(&()).into_owned()),
            kind: Some(OCIRepository::kind(&()).into_owned()),
            name: Some(id.name),
            namespace: Some(id.namespace),
            uid: source.uid(),
            resource_version: source.resource_version(),
            field_path: None,
        },
        type_: Some(
            if event.is_warning {
                "Warning"
            } else {
                "Normal"
            }
            .to_owned(),
        ),
        reason: Some(event.reason.clone()),
        message: Some(event.message.chars().take(MAX_MESSAGE).collect()),
        source: Some(EventSource {
            component: Some(COMPONENT.to_owned()),
            host: None,
        }),
        reporting_component: Some(COMPONENT.to_owned()),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..v1::Event::default()
    }
}

/// Those of the event, and those of the object that are meant for events, which win.
fn annotations(source: &OCIRepository, event: &Event) -> Option<BTreeMap<String, String>> {
    let mut annotations = event.annotations.clone();
    let own = source.annotations().iter();
    let copied = own.filter(|(key, _)| key.starts_with(COPIED));
    annotations.extend(copied.map(|(key, value)| (key.clone(), value.clone())));
    (!annotations.is_empty()).then_some(annotations)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source(name: &str) -> OCIRepository {
        serde_json::from_value(json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
            "metadata": {"name": name, "namespace": "apps", "uid": "u1", "resourceVersion": "7", "annotations": {
                "event.toolkit.fluxcd.io/team": "a", "reconcile.fluxcd.io/requestedAt": "now",
            }},
            "spec": {"url": "oci://a.example/app", "interval": "1m"},
        }))
        .unwrap()
    }

    fn event(is_warning: bool, message: String) -> Event {
        let annotations = [(
            "source.toolkit.fluxcd.io/revision".to_owned(),
            "r".to_owned(),
        )];
        Event {
            is_warning,
            reason: "NewArtifact".to_owned(),
            message,
            annotations: annotations.into(),
        }
    }

    #[test]
    fn an_event_points_at_the_object_as_it_was_read() {
        let object = object(
            &source("app"),
            &event(false, "m".into()),
            Timestamp::UNIX_EPOCH,
        );
        let involved = serde_json::to_value(&object.involved_object).unwrap();
        let expected = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository", "namespace": "apps", "name": "app",
            "uid": "u1", "resourceVersion": "7",
        });
        assert_eq!(involved, expected);
        assert_eq!(object.metadata.generate_name.as_deref(), Some("app-"));
        assert_eq!(object.type_.as_deref(), Some("Normal"));
        let annotations = object.metadata.annotations.unwrap();
        let keys: Vec<_> = annotations.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "event.toolkit.fluxcd.io/team",
                "source.toolkit.fluxcd.io/revision"
            ]
        );
    }

    #[test]
    fn long_names_and_messages_are_cut() {
        let event = event(true, "é".repeat(5000));
        let object = object(&source(&"a".repeat(253)), &event, Timestamp::UNIX_EPOCH);
        assert!(object.metadata.generate_name.unwrap().len() <= 248);
        assert_eq!(object.message.unwrap().chars().count(), MAX_MESSAGE);
        assert_eq!(object.type_.as_deref(), Some("Warning"));
    }
}
