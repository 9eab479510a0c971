// SPDX-License-Identifier: Apache-2.0
//! A name server that answers otherwise each time it is asked.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::net::UdpSocket;
use wharf_oci::registry::{
    Access, Client, Egress, ErrorKind, Options, RetryPolicy, StrictEgress, Target, Transport,
};
use wharf_test_support::{
    FakeRegistry,
    registry::{Endpoint, Fault, Rule},
};

use super::{canary::Canary, namespace};

const GOOD: Ipv4Addr = Ipv4Addr::new(93, 184, 215, 10);
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const METADATA_6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
const OPERATIONS: u64 = 5_000;

/// What a query asks for: types A and AAAA.
const A: u16 = 1;
const AAAA: u16 = 28;

#[test]
fn a_name_that_turns_to_a_forbidden_address_is_never_followed_there() {
    if namespace::enter(
        "egress::rebind::a_name_that_turns_to_a_forbidden_address_is_never_followed_there",
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(rebind());
    }
}

async fn rebind() {
    let forbidden = [IpAddr::from(METADATA), METADATA_6.into()];
    namespace::add_addresses([forbidden[0], forbidden[1], GOOD.into()]);
    let _resolver = namespace::replace(
        "/etc/resolv.conf",
        "nameserver 127.0.0.53\noptions timeout:5\n",
    );
    let mut canaries = Vec::new();
    for address in forbidden {
        canaries.push(Canary::sit(address).await);
    }
    let queries = name_server().await;
    let builder = FakeRegistry::builder().bind((GOOD, 5000).into());
    let registry = builder.start().await.unwrap();
    // Each answer ends its connection, so that each request has to be dialled, and is asked for once.
    let gone = Fault::status_with(404, &[("connection", "close")], "");
    registry.script(Rule::on(Endpoint::Manifest).fault(gone));

    for egress in [Egress::default(), Egress::strict(StrictEgress::default())] {
        let (reached, refused) = ask_often(egress).await;
        assert!(
            reached > OPERATIONS / 20 && refused > OPERATIONS / 20,
            "{reached} reached, {refused} refused"
        );
        assert_eq!(reached + refused, OPERATIONS / 2);
    }
    assert!(queries.load(Ordering::SeqCst) >= 10_000);
    for canary in &mut canaries {
        assert_eq!(canary.hits().await, 0, "{}", canary.address);
    }
}

/// How often the good address was reached, and how often none could be dialled.
async fn ask_often(egress: Egress) -> (u64, u64) {
    let options = Options {
        egress,
        retry: RetryPolicy {
            base: Duration::from_millis(1),
            ..RetryPolicy::default()
        },
        ..Options::default()
    };
    let client = Client::new(options).unwrap();
    let access = Access {
        transport: Transport::PlainHttpAllowed,
        ..Access::default()
    };
    let repository = "rebind.example:5000/team/app".parse().unwrap();
    let session = client.session(repository, &access).unwrap();
    let target = Target::Tag("1.0.0".parse().unwrap());
    let (mut reached, mut refused) = (0, 0);
    for _ in 0..OPERATIONS / 2 {
        let error = session.resolve(&target).await.unwrap_err();
        match error.kind() {
            ErrorKind::NotFound => reached += 1,
            ErrorKind::EgressDenied => refused += 1,
            other => panic!("{other:?}: {error}"),
        }
    }
    (reached, refused)
}

/// Answers A with the good address or the forbidden one, AAAA always with a forbidden one; nothing may be kept. The turns
/// are those of Thue and Morse, which no count of questions per operation falls in step with.
async fn name_server() -> Arc<AtomicU64> {
    let socket = UdpSocket::bind("127.0.0.53:53").await.unwrap();
    let queries = Arc::<AtomicU64>::default();
    let count = queries.clone();
    tokio::spawn(async move {
        let (mut query, mut turn) = ([0; 512], 0_u32);
        while let Ok((size, from)) = socket.recv_from(&mut query).await {
            count.fetch_add(1, Ordering::SeqCst);
            let address = match kind(&query[..size]) {
                A => {
                    turn += 1;
                    Some(IpAddr::from(if turn.count_ones() % 2 == 0 {
                        METADATA
                    } else {
                        GOOD
                    }))
                }
                AAAA => Some(METADATA_6.into()),
                _ => None,
            };
            let _ = socket.send_to(&answer(&query[..size], address), from).await;
        }
    });
    queries
}

/// Where the question of a query ends: after its name, type and class.
fn question_end(query: &[u8]) -> usize {
    let mut at = 12;
    while query[at] != 0 {
        at += usize::from(query[at]) + 1;
    }
    at + 5
}

fn kind(query: &[u8]) -> u16 {
    let end = question_end(query);
    u16::from_be_bytes([query[end - 4], query[end - 3]])
}

/// Source: RFC 1035, 4.1. The name in the answer points back to the question; the time to live is nothing.
fn answer(query: &[u8], address: Option<IpAddr>) -> Vec<u8> {
    let question = &query[12..question_end(query)];
    let mut text = query[..2].to_vec();
    text.extend([0x84, 0, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    text.extend(question);
    let (kind, bytes) = match address {
        Some(IpAddr::V4(v4)) => (A, v4.octets().to_vec()),
        Some(IpAddr::V6(v6)) => (AAAA, v6.octets().to_vec()),
        None => return text,
    };
    text.extend([0xc0, 12]);
    text.extend(kind.to_be_bytes());
    text.extend([0, 1, 0, 0, 0, 0, 0]);
    text.push(u8::try_from(bytes.len()).unwrap());
    text.extend(bytes);
    text
}
