// SPDX-License-Identifier: Apache-2.0
//! Listeners on addresses that nobody should reach: they count who comes and say nothing.

use std::{
    net::{IpAddr, SocketAddr, SocketAddrV6},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
};

/// The index of the loopback device, which every namespace has first; link-local addresses need to be told.
const LOOPBACK_DEVICE: u32 = 1;

pub(crate) const PORTS: [u16; 3] = [80, 443, 5000];

/// One address, on all of [`PORTS`].
pub(crate) struct Canary {
    pub(crate) address: IpAddr,
    ports: Vec<(SocketAddr, Arc<AtomicU64>)>,
    /// Connections that were made to look.
    looks: u64,
}

impl Canary {
    pub(crate) async fn sit(address: IpAddr) -> Self {
        let mut ports = Vec::new();
        for port in PORTS {
            let place = place(address, port);
            let listener = TcpListener::bind(place).await.unwrap();
            let count = Arc::<AtomicU64>::default();
            tokio::spawn(count_all(listener, count.clone()));
            ports.push((place, count));
        }
        Self {
            address,
            ports,
            looks: 0,
        }
    }

    /// How many came so far. A listener accepts in order: once it has let go of our own connection, all earlier ones are
    /// counted.
    pub(crate) async fn hits(&mut self) -> u64 {
        for (place, _) in &self.ports {
            let mut look = TcpStream::connect(place).await.unwrap();
            let _ = look.read(&mut [0]).await;
            self.looks += 1;
        }
        let counted = |(_, count): &(_, Arc<AtomicU64>)| count.load(Ordering::SeqCst);
        self.ports.iter().map(counted).sum::<u64>() - self.looks
    }
}

async fn count_all(listener: TcpListener, count: Arc<AtomicU64>) {
    while let Ok((socket, _)) = listener.accept().await {
        count.fetch_add(1, Ordering::SeqCst);
        drop(socket);
    }
}

fn place(address: IpAddr, port: u16) -> SocketAddr {
    match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            SocketAddrV6::new(v6, port, 0, LOOPBACK_DEVICE).into()
        }
        other => (other, port).into(),
    }
}
