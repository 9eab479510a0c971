// SPDX-License-Identifier: Apache-2.0
//! Answers that HTTP does not know, or hardly, and what is no HTTP at all.

use bytes::Bytes;
use wharf_test_support::registry::{Fault, Spelling};

const MANY: usize = 10_000;

fn spelled(spelling: Spelling) -> Fault {
    Fault::Spelled(Box::new(spelling))
}

fn lines(lines: impl Into<Bytes>, without: &[&'static str]) -> Fault {
    spelled(Spelling::lines(lines, without))
}

fn status_line(line: &str) -> Fault {
    spelled(Spelling {
        status_line: Some(line.to_owned()),
        ..Spelling::default()
    })
}

fn before(bytes: impl Into<Bytes>) -> Fault {
    spelled(Spelling {
        before: bytes.into(),
        ..Spelling::default()
    })
}

/// In one chunk that is said to begin and end so.
fn chunked(before: &str, after: impl Into<Bytes>) -> Fault {
    let encoded = Spelling::lines("transfer-encoding: chunked\r\n", &["content-length"]);
    spelled(Spelling {
        chunk: Some((before.to_owned(), after.into())),
        ..encoded
    })
}

/// The honest answer in other words. A client may take it, if it takes it for what it is.
pub(super) fn spellings() -> Vec<(&'static str, Fault)> {
    let mut all = lengths();
    all.extend(heads());
    all.extend(chunks());
    all
}

fn lengths() -> Vec<(&'static str, Fault)> {
    let length = &["content-length"];
    vec![
        (
            "two lengths",
            lines("content-length: 5\r\ncontent-length: 7\r\n", length),
        ),
        ("one more length", lines("content-length: 1\r\n", &[])),
        ("negative length", lines("content-length: -1\r\n", length)),
        (
            "length out of range",
            lines("content-length: 99999999999999999999999\r\n", length),
        ),
        ("length in words", lines("content-length: many\r\n", length)),
        ("length 0", lines("content-length: 0\r\n", length)),
        (
            "length and chunks",
            lines("transfer-encoding: chunked\r\n", &[]),
        ),
        (
            "unknown transfer coding",
            lines("transfer-encoding: rot13\r\n", length),
        ),
        (
            "gzip that is none",
            lines("content-encoding: gzip\r\n", &[]),
        ),
        (
            "206 of nothing known",
            spelled(Spelling {
                status_line: Some("HTTP/1.1 206 Partial Content".to_owned()),
                ..Spelling::lines("content-range: bytes 5-3/x\r\n", &[])
            }),
        ),
        (
            "206 of another part",
            spelled(Spelling {
                status_line: Some("HTTP/1.1 206 Partial Content".to_owned()),
                ..Spelling::lines("content-range: bytes 7-20006/18446744073709551616\r\n", &[])
            }),
        ),
    ]
}

fn heads() -> Vec<(&'static str, Fault)> {
    let many = "x-many: 1\r\n".repeat(MANY);
    let large = format!("x-large: {}\r\n", "a".repeat(1 << 20));
    vec![
        ("HTTP/1.0", status_line("HTTP/1.0 200 OK")),
        ("HTTP/2 in words", status_line("HTTP/2 200 OK")),
        ("no reason", status_line("HTTP/1.1 200")),
        ("status 99", status_line("HTTP/1.1 99 What")),
        ("status 99999", status_line("HTTP/1.1 99999 What")),
        ("status 999", status_line("HTTP/1.1 999 Request denied")),
        (
            "reason that is not UTF-8",
            before(&b"HTTP/1.1 103 \xff\xfe\r\n\r\n"[..]),
        ),
        ("100 before", before("HTTP/1.1 100 Continue\r\n\r\n")),
        (
            "103 before",
            before("HTTP/1.1 103 Early Hints\r\nlink: <http://169.254.169.254/>\r\n\r\n"),
        ),
        (
            "1000 times 103 before",
            before("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000)),
        ),
        (
            "101 before",
            before(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
            ),
        ),
        ("10,000 headers", lines(many, &[])),
        ("a header of 1 MiB", lines(large, &[])),
        (
            "digest that is not UTF-8",
            lines(
                &b"docker-content-digest: sha256:\xff\xfe\r\n"[..],
                &["docker-content-digest"],
            ),
        ),
        (
            "two digests",
            lines(
                "docker-content-digest: sha256:0000000000000000000000000000000000000000000000000000000000000000\r\n",
                &[],
            ),
        ),
        (
            "type that is not UTF-8",
            lines(&b"content-type: \xff\xfe\r\n"[..], &["content-type"]),
        ),
        ("no type", lines("", &["content-type"])),
        (
            "link that is not UTF-8",
            lines(&b"link: <\xff>; rel=\"next\"\r\n"[..], &["link"]),
        ),
        (
            "place that is not UTF-8",
            lines(&b"location: /\xff\r\n"[..], &["location"]),
        ),
        ("no place", lines("", &["location"])),
        (
            "place on another host",
            lines(
                "location: http://169.254.169.254/?sig=canary-signature\r\n",
                &["location"],
            ),
        ),
        (
            "place with a password",
            lines(
                "location: http://robot:canary-password@127.0.0.1:1/\r\n",
                &["location"],
            ),
        ),
        (
            "range out of range",
            lines("range: 0-18446744073709551615\r\n", &["range"]),
        ),
        (
            "range beyond the blob",
            lines("range: 0-99999999\r\n", &["range"]),
        ),
        ("folded header", lines("x-folded: a\r\n b\r\n", &[])),
        ("header name with a space", lines("x y: z\r\n", &[])),
        ("NUL in a header", lines(&b"x-nul: a\x00b\r\n"[..], &[])),
        (
            "limits that are none",
            lines(
                "ratelimit-limit: -1;w=x\r\nratelimit-remaining: 1e9\r\nratelimit-reset: 99999999999999999999\r\nretry-after: 99999999999\r\n",
                &[],
            ),
        ),
    ]
}

fn chunks() -> Vec<(&'static str, Fault)> {
    let trailers = "x-many: 1\r\n".repeat(MANY);
    vec![
        ("chunk of no size", chunked("\r\n", "\r\n0\r\n\r\n")),
        ("chunk of no number", chunked("zz\r\n", "\r\n0\r\n\r\n")),
        (
            "chunk out of range",
            chunked("fffffffffffffffff\r\n", "\r\n0\r\n\r\n"),
        ),
        ("chunk of 1 TiB", chunked("10000000000\r\n", "")),
        (
            "chunk extension of 1 MiB",
            chunked(&format!("1;{}\r\n", "a".repeat(1 << 20)), "\r\n0\r\n\r\n"),
        ),
        (
            "trailers",
            chunked(
                "{len}\r\n",
                "\r\n0\r\ncontent-length: 5\r\nlocation: /\r\n\r\n",
            ),
        ),
        (
            "10,000 trailers",
            chunked("{len}\r\n", format!("\r\n0\r\n{trailers}\r\n")),
        ),
        ("no last chunk", chunked("{len}\r\n", "\r\n")),
    ]
}

/// What is no answer.
pub(super) fn no_http() -> Vec<(&'static str, Fault)> {
    let endless = |start: &'static [u8], again: &[u8]| {
        Fault::Raw(Bytes::from_static(start), again.to_vec().into())
    };
    vec![
        ("nothing", Fault::raw("")),
        ("an empty line", Fault::raw("\r\n")),
        ("SSH", Fault::raw("SSH-2.0-OpenSSH_9.6\r\n")),
        (
            "a TLS alert",
            Fault::raw(&b"\x15\x03\x03\x00\x02\x02\x28"[..]),
        ),
        (
            "HTTP/2",
            Fault::raw(&b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"[..]),
        ),
        ("zeros", Fault::raw(vec![0; 100_000])),
        ("a page without a head", Fault::raw("<html>canary</html>")),
        ("half a head", Fault::raw("HTTP/1.1 200 OK\r\ncontent-le")),
        ("endless letters", endless(b"", &[b'A'; 10_000])),
        (
            "an endless header",
            endless(b"HTTP/1.1 200 OK\r\nx-endless: ", &[b'a'; 10_000]),
        ),
        (
            "endless headers",
            endless(b"HTTP/1.1 200 OK\r\n", &b"x-a: b\r\n".repeat(100)),
        ),
        (
            "endless 103",
            endless(b"", &b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(10)),
        ),
        ("endless lines", endless(b"", &b"\r\n".repeat(1000))),
    ]
}
