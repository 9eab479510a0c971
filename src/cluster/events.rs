// SPDX-License-Identifier: Apache-2.0
//! Kubernetes events about sources. Best effort and bounded in time: an event that cannot be written is logged.

use std::time::Duration;

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
            annotations: (!event.annotations.is_empty()).then(|| event.annotations.clone()),
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
