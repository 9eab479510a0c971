// SPDX-License-Identifier: Apache-2.0
//! Flags, made into the values that the parts take. Every error names the flag.

use std::{error::Error, net::SocketAddr, str::FromStr, time::Duration};

use wharf_oci::{
    archive::Limits,
    registry::{self, Egress, StrictEgress},
};

use super::{
    Failure,
    args::{CommonArgs, EgressArgs, LimitArgs, Passthrough},
};
use crate::{
    pipeline::LayerOptions,
    source::{duration, schedule::Policy},
    store::Retention,
};

/// An address such as `:9090`, `127.0.0.1:9090` or `[::1]:9090`; without a host it means all of them.
pub fn address(flag: &str, text: &str) -> Result<SocketAddr, Failure> {
    let full = if text.starts_with(':') {
        format!("[::]{text}")
    } else {
        text.replacen("localhost:", "127.0.0.1:", 1)
    };
    full.parse().map_err(|_| {
        Failure::usage(format!(
            "{flag}: {text:?} is not an address such as :9090 or 127.0.0.1:9090"
        ))
    })
}

/// A duration flag.
pub fn duration_of(flag: &str, text: &str) -> Result<Duration, Failure> {
    duration::parse(text).map_err(|error| Failure::usage(format!("{flag}: {error}")))
}

/// Wrong usage is said before anything on this machine is looked at.
pub fn check(args: &CommonArgs) -> Result<(), Failure> {
    policy(args)?;
    egress(&args.egress)?;
    retention(args).map(drop)
}

/// How to wait between runs.
pub fn policy(args: &CommonArgs) -> Result<Policy, Failure> {
    let min_retry = duration_of("--min-retry-delay", &args.min_retry_delay)?;
    let max_retry = duration_of("--max-retry-delay", &args.max_retry_delay)?;
    if min_retry.is_zero() || max_retry < min_retry {
        return Err(Failure::usage(
            "--min-retry-delay must be more than zero and not more than --max-retry-delay",
        ));
    }
    Ok(Policy {
        min_retry,
        max_retry,
        jitter_percent: args.interval_jitter_percentage,
    })
}

/// Which superseded artifacts are kept.
pub fn retention(args: &CommonArgs) -> Result<Retention, Failure> {
    let ttl = duration_of("--artifact-retention-ttl", &args.artifact_retention_ttl)?;
    Ok(Retention {
        ttl,
        records: args.artifact_retention_records.max(1),
    })
}

/// What registries may lead to.
pub fn egress(args: &EgressArgs) -> Result<Egress, Failure> {
    let allowed = parsed("--egress-allow", &args.egress_allow)?;
    let listed = StrictEgress {
        realms: parsed("--egress-realm", &args.egress_realm)?,
        proxied: parsed("--egress-proxied", &args.egress_proxied)?,
    };
    let rules = if args.strict_egress {
        Egress::strict(listed)
    } else {
        Egress::default()
    };
    Ok(rules.allowing(allowed))
}

fn parsed<T>(flag: &str, texts: &[String]) -> Result<Vec<T>, Failure>
where
    T: FromStr<Err: Error>,
{
    let parse = |text: &String| {
        text.parse()
            .map_err(|error| Failure::usage(format!("{flag}: {error}")))
    };
    texts.iter().map(parse).collect()
}

/// How layers are treated.
pub fn layers(args: &CommonArgs) -> LayerOptions {
    LayerOptions {
        always_repack: args.passthrough == Passthrough::Off,
        strict: args.strict_layers,
    }
}

/// The bounds of archives: the defaults, where no flag says otherwise.
pub fn limits(args: &LimitArgs) -> Limits {
    let default = Limits::default();
    Limits {
        compressed_bytes: args
            .max_compressed_bytes
            .unwrap_or(default.compressed_bytes),
        expanded_bytes: args.max_expanded_bytes.unwrap_or(default.expanded_bytes),
        entries: args.max_entries.unwrap_or(default.entries),
        ratio: args.max_ratio.unwrap_or(default.ratio),
        path_bytes: args.max_path_bytes.unwrap_or(default.path_bytes),
        depth: args.max_depth.unwrap_or(default.depth),
        header_bytes: args.max_header_bytes.unwrap_or(default.header_bytes),
        gzip_members: args.max_gzip_members.unwrap_or(default.gzip_members),
    }
}

/// What the client reads at most. A layer that a flag lets in must come through.
pub fn registry_limits(args: &LimitArgs) -> registry::Limits {
    let default = registry::Limits::default();
    let wanted = args.max_compressed_bytes.unwrap_or(0);
    registry::Limits {
        max_blob: default.max_blob.max(wanted),
        ..default
    }
}

/// The host under which consumers reach the artifact server: what was advertised, or what can be known. Source: the
/// contract, "URLs".
pub fn advertised(
    flag: &str,
    bound: SocketAddr,
    host_name: impl FnOnce() -> Option<String>,
) -> String {
    if !flag.is_empty() {
        return flag.to_owned();
    }
    if !bound.ip().is_unspecified() {
        return bound.to_string();
    }
    format!(
        "{}:{}",
        host_name().unwrap_or_else(|| "localhost".to_owned()),
        bound.port()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_may_leave_out_the_host() {
        assert_eq!(
            address("--x", ":9090")
                .ok()
                .map(|a| a.to_string())
                .as_deref(),
            Some("[::]:9090")
        );
        assert_eq!(
            address("--x", "localhost:1")
                .ok()
                .map(|a| a.to_string())
                .as_deref(),
            Some("127.0.0.1:1")
        );
        for bad in ["", "9090", "host:9090", ":99999", "127.0.0.1"] {
            assert!(
                address("--storage-addr", bad)
                    .unwrap_err()
                    .to_string()
                    .contains("--storage-addr")
            );
        }
    }

    #[test]
    fn what_is_advertised_is_the_flag_or_the_address_or_the_host_name() {
        let any = "0.0.0.0:9090".parse().unwrap();
        let loopback = "127.0.0.1:9090".parse().unwrap();
        assert_eq!(advertised("wharf.apps", any, || None), "wharf.apps");
        assert_eq!(advertised("", loopback, || None), "127.0.0.1:9090");
        assert_eq!(advertised("", any, || Some("pod-1".into())), "pod-1:9090");
        assert_eq!(advertised("", any, || None), "localhost:9090");
    }

    #[test]
    fn a_layer_that_a_flag_lets_in_comes_through() {
        let of = |max_compressed_bytes| {
            let args = LimitArgs {
                max_compressed_bytes,
                max_expanded_bytes: None,
                max_entries: None,
                max_ratio: None,
                max_path_bytes: None,
                max_depth: None,
                max_header_bytes: None,
                max_gzip_members: None,
            };
            registry_limits(&args).max_blob
        };
        assert_eq!(of(None), 4 << 30);
        assert_eq!(of(Some(1)), 4 << 30);
        assert_eq!(of(Some(5 << 30)), 5 << 30);
    }
}
