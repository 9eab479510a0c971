// SPDX-License-Identifier: Apache-2.0
//! Asking a SOCKS5 proxy for a connection (RFC 1928), with name and password where it wants them (RFC 1929).
//!
//! A stream to the proxy and a target go in; afterwards the stream is one to the target. Names are sent as they are: the
//! proxy resolves them. Only as many bytes are read as the protocol says, so nothing of the target's is swallowed, and
//! no answer is longer than 262 bytes.

use std::{io, net::IpAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{
    Login,
    tunnel::{ProxyFailure, Target},
};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Asks for a connection.
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    target: &Target<'_>,
    login: Option<&Login>,
) -> Result<(), ProxyFailure> {
    match choose_method(stream, login).await? {
        NO_AUTHENTICATION => {}
        PASSWORD => {
            let login = login.ok_or(ProxyFailure::WantsLogin)?;
            authenticate(stream, login).await?;
        }
        NONE_ACCEPTABLE if login.is_none() => return Err(ProxyFailure::WantsLogin),
        NONE_ACCEPTABLE => return Err(ProxyFailure::LoginRefused),
        _ => return Err(ProxyFailure::Garbage),
    }
    stream.write_all(&request(target)?).await?;
    answer(stream).await
}

async fn choose_method<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    login: Option<&Login>,
) -> Result<u8, ProxyFailure> {
    let greeting: &[u8] = match login {
        None => &[VERSION, 1, NO_AUTHENTICATION],
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, PASSWORD],
    };
    stream.write_all(greeting).await?;
    match read(stream).await? {
        [VERSION, method] => Ok(method),
        _ => Err(ProxyFailure::Garbage),
    }
}

async fn authenticate<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    login: &Login,
) -> Result<(), ProxyFailure> {
    let mut message = vec![1];
    for text in [login.username.expose(), login.password.expose()] {
        // A `Proxy` holds none that is longer.
        message.push(u8::try_from(text.len()).map_err(|_| ProxyFailure::LoginRefused)?);
        message.extend_from_slice(text.as_bytes());
    }
    stream.write_all(&message).await?;
    match read(stream).await? {
        [1, 0] => Ok(()),
        [1, _] => Err(ProxyFailure::LoginRefused),
        _ => Err(ProxyFailure::Garbage),
    }
}

fn request(target: &Target<'_>) -> Result<Vec<u8>, ProxyFailure> {
    let mut message = vec![VERSION, CONNECT, 0];
    match target.host.parse() {
        Ok(IpAddr::V4(address)) => {
            message.push(IPV4);
            message.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            message.push(IPV6);
            message.extend(address.octets());
        }
        Err(_) => {
            let too_long = |_| ProxyFailure::Refused("the name is longer than 255 bytes".into());
            message.push(NAME);
            message.push(u8::try_from(target.host.len()).map_err(too_long)?);
            message.extend_from_slice(target.host.as_bytes());
        }
    }
    message.extend(target.port.to_be_bytes());
    Ok(message)
}

/// The answer with the address that follows it, which says nothing of use.
async fn answer<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(), ProxyFailure> {
    let [version, code, _, kind] = read(stream).await?;
    if version != VERSION {
        return Err(ProxyFailure::Garbage);
    }
    // Who refuses may close without the address.
    if code != 0 {
        return Err(refusal(code));
    }
    let address = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => {
            let [length] = read(stream).await?;
            usize::from(length)
        }
        _ => return Err(ProxyFailure::Garbage),
    };
    let mut rest = vec![0; address + 2];
    stream.read_exact(&mut rest).await.map_err(closed)?;
    Ok(())
}

/// RFC 1928, section 6.
fn refusal(code: u8) -> ProxyFailure {
    match code {
        1 => ProxyFailure::Unreachable("general failure".into()),
        2 => ProxyFailure::Refused("not allowed by its rules".into()),
        3 => ProxyFailure::Unreachable("network unreachable".into()),
        4 => ProxyFailure::Unreachable("host unreachable".into()),
        5 => ProxyFailure::Unreachable("connection refused".into()),
        6 => ProxyFailure::Unreachable("time exceeded on the way".into()),
        7 => ProxyFailure::Refused("it makes no connections".into()),
        8 => ProxyFailure::Refused("it does not know this kind of address".into()),
        _ => ProxyFailure::Garbage,
    }
}

async fn read<S: AsyncRead + Unpin, const N: usize>(
    stream: &mut S,
) -> Result<[u8; N], ProxyFailure> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(closed)?;
    Ok(bytes)
}

fn closed(error: io::Error) -> ProxyFailure {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        ProxyFailure::Closed
    } else {
        ProxyFailure::from(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login {
            username: "name".into(),
            password: "canary".into(),
        }
    }

    /// What is sent to a proxy that answers so, and what comes of it.
    async fn talk(
        host: &str,
        login: Option<&Login>,
        answers: &[u8],
    ) -> (Result<(), ProxyFailure>, Vec<u8>) {
        let mut stream = tokio::io::join(answers, Vec::new());
        let result = connect(&mut stream, &Target { host, port: 443 }, login).await;
        (result, stream.into_inner().1)
    }

    #[tokio::test]
    async fn a_name_is_left_to_the_proxy() {
        let answers = [5, 0, 5, 0, 0, 1, 1, 2, 3, 4, 0, 80];
        let (result, sent) = talk("r.example", None, &answers).await;
        result.unwrap();
        assert_eq!(sent, b"\x05\x01\x00\x05\x01\x00\x03\x09r.example\x01\xbb");
    }

    #[tokio::test]
    async fn addresses_are_sent_as_such() {
        let answers = [5, 0, 5, 0, 0, 3, 1, b'x', 0, 80];
        let (result, sent) = talk("10.0.0.1", None, &answers).await;
        result.unwrap();
        assert_eq!(&sent[3..], b"\x05\x01\x00\x01\x0a\x00\x00\x01\x01\xbb");
        let (_, sent) = talk("::1", None, &answers).await;
        assert_eq!(sent[6], IPV6);
    }

    #[tokio::test]
    async fn name_and_password_are_shown_to_who_wants_them() {
        let answers = [5, 2, 1, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let (result, sent) = talk("r", Some(&login()), &answers).await;
        result.unwrap();
        assert!(sent.starts_with(b"\x05\x02\x00\x02\x01\x04name\x06canary"));
        let (result, sent) = talk("r", Some(&login()), &[5, 0, 5, 2]).await;
        assert!(result.is_err());
        assert!(!sent.windows(6).any(|part| part == b"canary"));
    }

    #[tokio::test]
    async fn what_goes_wrong_is_told_apart() {
        type Wanted = fn(&ProxyFailure) -> bool;
        let cases: [(Option<Login>, &[u8], Wanted); 12] = [
            (None, &[5, 0xff], |f| matches!(f, ProxyFailure::WantsLogin)),
            (None, &[5, 2], |f| matches!(f, ProxyFailure::WantsLogin)),
            (Some(login()), &[5, 0xff], |f| {
                matches!(f, ProxyFailure::LoginRefused)
            }),
            (Some(login()), &[5, 2, 1, 1], |f| {
                matches!(f, ProxyFailure::LoginRefused)
            }),
            (None, &[5, 0, 5, 2, 0, 1], |f| {
                matches!(f, ProxyFailure::Refused(_))
            }),
            (None, &[5, 0, 5, 5, 0, 1], |f| {
                matches!(f, ProxyFailure::Unreachable(_))
            }),
            (None, &[4, 0], |f| matches!(f, ProxyFailure::Garbage)),
            (None, b"HTTP/1.1 400 Bad Request\r\n\r\n", |f| {
                matches!(f, ProxyFailure::Garbage)
            }),
            (None, &[5, 0, 5, 0, 0, 9], |f| {
                matches!(f, ProxyFailure::Garbage)
            }),
            (None, &[5, 0, 5, 99, 0, 1], |f| {
                matches!(f, ProxyFailure::Garbage)
            }),
            (None, &[5, 0, 5, 0, 0, 1, 0], |f| {
                matches!(f, ProxyFailure::Closed)
            }),
            (None, &[], |f| matches!(f, ProxyFailure::Closed)),
        ];
        for (login, answers, is_wanted) in cases {
            let (result, _) = talk("r.example", login.as_ref(), answers).await;
            let failure = result.unwrap_err();
            assert!(is_wanted(&failure), "{answers:?}: {failure:?}");
            assert!(!format!("{failure:?} {failure}").contains("canary"));
        }
        let (result, _) = talk(&"a".repeat(256), None, &[5, 0]).await;
        assert!(
            matches!(result, Err(ProxyFailure::Refused(_))),
            "{result:?}"
        );
    }
}
