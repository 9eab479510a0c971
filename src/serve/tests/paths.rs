// SPDX-License-Identifier: Apache-2.0
//! Paths that try to get at something else than an artifact.

use super::*;

/// Ways to write the path of a file outside.
fn hostile_paths(good: &str) -> Vec<String> {
    let outside = [
        "etc/passwd",
        ".wharf-store",
        "staging/0.tmp",
        "blobs/sha256",
        "names/ocirepository/apps/web",
    ];
    let ups = [
        "..",
        "%2e%2e",
        "%2E%2E",
        ".%2e",
        "%252e%252e",
        "%c0%ae%c0%ae",
        "..;",
        "..%00",
        "..%5c",
        "..\\",
        "...",
        "....//",
        ".",
    ];
    let slashes = ["/", "//", "%2f", "%252f", "\\", "%5c", "/./"];
    let mut paths = Vec::new();
    for file in outside {
        for up in ups {
            for slash in slashes {
                paths.push(format!("/{up}{slash}{up}{slash}{file}"));
                paths.push(format!(
                    "/ocirepository/apps/web/{up}{slash}{up}{slash}{up}{slash}{file}"
                ));
            }
        }
        paths.push(format!("/{file}"));
        paths.push(format!("//{file}"));
        paths.push(format!("/ocirepository/apps/web/{file}"));
    }
    paths.extend([
        "/ocirepository".into(),
        "/ocirepository/".into(),
        "/ocirepository/apps".into(),
        "/ocirepository/apps/".into(),
        "/ocirepository/apps/web".into(),
        "/ocirepository/apps/web/".into(),
        "/ocirepository/apps/web/index.html".into(),
        "/latest.tar.gz".into(),
        format!("/{good}"),
        format!("{good}/"),
        format!("{good}%00"),
        format!("{good}%20"),
        format!("{good}.lock"),
        format!("/x/..{good}"),
        good.replace("/apps/", "//apps/"),
        good.replace("/apps/", "/%61pps/"),
        good.replace("/apps/", "/APPS/"),
        good.replace('/', "\\"),
        good.replace(':', "%253A"),
        good.replace(".tar.gz", ""),
        good.replace("sha256:", ""),
    ]);
    paths
}

#[tokio::test]
async fn no_path_leads_to_anything_but_an_artifact() {
    let it = Fixture::new().await;
    let paths = hostile_paths(&it.path());
    assert!(paths.len() > 400);
    for path in paths {
        let reply = it.server.get(&path).await;
        // 400 where the path is not one at all by the rules of HTTP.
        assert!(matches!(reply.status, 400 | 404), "{path}: {}", reply.head);
        assert!(
            reply.body.is_empty() || reply.body == b"not found\n",
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_query_and_an_absolute_form_name_the_same_artifact() {
    let it = Fixture::new().await;
    for path in [
        format!("{}?v=1", it.path()),
        format!("{}?../../etc/passwd", it.path()),
        format!("http://other.example{}", it.path()),
    ] {
        assert_eq!(it.server.get(&path).await.body, CONTENT, "{path}");
    }
    assert_eq!(it.server.get("http://other.example/../x").await.status, 404);
    assert_eq!(it.server.get("file:///etc/passwd").await.status, 400);
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let it = Fixture::new().await;
    for request in [
        b"GET /\0 HTTP/1.1\r\nhost: x\r\n\r\n".as_slice(),
        b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nx\0y: z\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut socket = it.server.connect().await;
        socket.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A reset is an answer too: the server closed with bytes of ours unread.
        let _ = timeout(DEADLINE, socket.read_to_end(&mut answer))
            .await
            .expect("the server closes");
        let text = String::from_utf8_lossy(&answer);
        assert!(
            text.is_empty() || text.starts_with("HTTP/1.1 400"),
            "{request:?}: {text}"
        );
    }
    assert_eq!(it.server.get("/").await.status, 200);
}

#[tokio::test]
async fn too_many_and_too_large_headers_are_refused() {
    let it = Fixture::new().await;
    let many = "a: b\r\n".repeat(65);
    let large = format!("a: {}\r\n", "b".repeat(9_000));
    for headers in [many, large] {
        assert_eq!(it.server.ask("GET", "/", &headers).await.status, 431);
    }
    let long = format!("/{}", "a".repeat(9_000));
    assert!(matches!(it.server.get(&long).await.status, 414 | 431));
    let fits = "a: b\r\n".repeat(50);
    assert_eq!(it.server.ask("GET", "/", &fits).await.status, 200);
}
