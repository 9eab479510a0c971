// SPDX-License-Identifier: Apache-2.0
//! `WWW-Authenticate`: what a registry wants to see.
//!
//! Enters as header values, of which there may be several with several challenges each; leaves as [`Challenges`]. What
//! cannot be read is passed over, never guessed at. Source: RFC 9110 section 11.6.1, distribution's token specification.

use super::super::problem::clean;

/// More than any registry sends; what follows is not read.
const MAX_HEADER: usize = 8 * 1024;
const MAX_CHALLENGES: usize = 32;

/// What a registry offers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Challenges {
    pub(crate) basic: bool,
    /// The first usable one.
    pub(crate) bearer: Option<Bearer>,
    /// All schemes by name, for messages.
    pub(crate) schemes: Vec<String>,
}

/// A token service.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) realm: String,
    pub(crate) service: Option<String>,
    /// What a token must be good for, as it stands there.
    pub(crate) scope: Option<String>,
}

impl Challenges {
    /// Reads all values of the header.
    pub(crate) fn parse<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut challenges = Self::default();
        for value in values {
            let text = String::from_utf8_lossy(&value[..value.len().min(MAX_HEADER)]);
            for challenge in split(&text) {
                if challenges.schemes.len() >= MAX_CHALLENGES {
                    return challenges;
                }
                challenges.add(&challenge);
            }
        }
        challenges
    }

    fn add(&mut self, challenge: &Raw) {
        self.schemes.push(clean(&challenge.scheme, 40));
        match challenge.scheme.to_ascii_lowercase().as_str() {
            "basic" => self.basic = true,
            "bearer" if self.bearer.is_none() => {
                let parameter = |name| challenge.parameter(name).map(ToOwned::to_owned);
                self.bearer = parameter("realm").map(|realm| Bearer {
                    realm,
                    service: parameter("service"),
                    scope: parameter("scope"),
                });
            }
            _ => {}
        }
    }
}

#[derive(Default)]
struct Raw {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Raw {
    fn parameter(&self, name: &str) -> Option<&str> {
        let found = self
            .parameters
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

/// Splits at commas outside quotes. An item is `scheme`, `scheme key=value` or, belonging to the scheme before it,
/// `key=value`.
fn split(text: &str) -> Vec<Raw> {
    let mut challenges: Vec<Raw> = Vec::new();
    for item in items(text) {
        let (word, rest) = match item.split_once(|c: char| c.is_ascii_whitespace()) {
            Some((word, rest)) if is_token(word) && !rest.trim_start().starts_with('=') => {
                (Some(word), rest.trim())
            }
            None if is_token(&item) => (Some(item.as_str()), ""),
            _ => (None, item.as_str()),
        };
        if let Some(scheme) = word {
            challenges.push(Raw {
                scheme: scheme.to_owned(),
                ..Raw::default()
            });
        }
        if let (Some(challenge), Some(parameter)) = (challenges.last_mut(), parameter(rest)) {
            challenge.parameters.push(parameter);
        }
    }
    challenges
}

fn items(text: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        if c == ',' && !quoted {
            items.push(String::new());
            continue;
        }
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && c == '\\' && !escaped;
        if let Some(item) = items.last_mut() {
            item.push(c);
        }
    }
    items
        .iter()
        .map(|item| item.trim().to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}

fn parameter(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let key = key.trim();
    is_token(key).then(|| (key.to_owned(), unquote(value.trim())))
}

fn unquote(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"') else {
        return text.to_owned();
    };
    let mut value = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => value.extend(chars.next()),
            other => value.push(other),
        }
    }
    value
}

fn is_token(text: &str) -> bool {
    let special = |b: u8| b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || special(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Challenges {
        Challenges::parse(values.iter().map(|value| value.as_bytes()))
    }

    fn bearer(realm: &str, service: Option<&str>) -> Bearer {
        Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
            scope: None,
        }
    }

    #[test]
    fn the_usual_forms_are_read() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let expected = Bearer {
            scope: Some("repository:a/b:pull,push".into()),
            ..bearer("https://auth.docker.io/token", Some("registry.docker.io"))
        };
        assert_eq!(parse(&[hub]).bearer.unwrap(), expected);
        assert!(parse(&[r#"Basic realm="Registry Realm""#]).basic);
        assert!(parse(&["Basic"]).basic);
        assert!(parse(&["basic realm=x"]).basic);
        assert_eq!(
            parse(&["BEARER realm=https://a/t"]).bearer.unwrap(),
            bearer("https://a/t", None)
        );
        assert_eq!(
            parse(&[r#"Bearer realm = "https://a/t" , service = s"#])
                .bearer
                .unwrap(),
            bearer("https://a/t", Some("s"))
        );
    }

    #[test]
    fn several_challenges_are_read_from_one_header_and_from_several() {
        let one = parse(&[
            r#"Negotiate, Basic realm="a, b", charset="UTF-8", Bearer realm="https://a/t""#,
        ]);
        assert_eq!(
            (one.basic, one.bearer.unwrap()),
            (true, bearer("https://a/t", None))
        );
        assert_eq!(one.schemes, ["Negotiate", "Basic", "Bearer"]);
        let several = parse(&[r#"Bearer realm="https://a/t""#, r#"Basic realm="b""#]);
        assert!(several.basic && several.bearer.is_some());
    }

    #[test]
    fn a_token_of_another_scheme_and_a_second_bearer_do_not_disturb() {
        let got = parse(&[
            "Negotiate YII+/a==, NTLM TlRM=",
            r#"Bearer error="invalid_token""#,
            r#"Bearer realm="/token",error="insufficient_scope",scope="repository:a:pull",realm="https://late""#,
            r#"Bearer realm="https://second/""#,
        ]);
        let expected = Bearer {
            scope: Some("repository:a:pull".into()),
            ..bearer("/token", None)
        };
        assert_eq!(got.bearer.unwrap(), expected);
        assert_eq!(got.schemes.len(), 5);
        let many = "Basic, ".repeat(10_000);
        assert_eq!(parse(&[&many]).schemes.len(), MAX_CHALLENGES);
    }

    #[test]
    fn quotes_keep_commas_and_escapes() {
        let got = parse(&[r#"Bearer realm="https://a/t?x=\"1\",2",service="a\\b""#]);
        assert_eq!(
            got.bearer.unwrap(),
            bearer(r#"https://a/t?x="1",2"#, Some(r"a\b"))
        );
    }

    #[test]
    fn what_makes_no_sense_is_no_challenge() {
        let endless = format!("Bearer realm=\"{}", "x".repeat(1 << 20));
        for (bad, is_bearer) in [
            ("", false),
            (",,,", false),
            ("=", false),
            ("Bearer", false),
            ("Bearer realm=\"\"", false),
            ("realm=\"https://a\"", false),
            ("\u{7f}\u{0}", false),
            (endless.as_str(), true),
        ] {
            let got = parse(&[bad]);
            assert!(!got.basic && got.bearer.is_some() == is_bearer, "{bad:.40}");
        }
        assert!(
            Challenges::parse([&b"Bearer realm=\"\xff"[..]])
                .bearer
                .is_some()
        );
    }
}
