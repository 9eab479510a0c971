// SPDX-License-Identifier: Apache-2.0
//! Lists that come in pages: where the next page is, and that the pages end.
//!
//! Pure: the URL that answered and its headers go in, the next URL or a [`Problem`] comes out. A link is followed as it is
//! written, because cursors are the registry's own, but never to another origin and never twice. A `Link` header that
//! cannot be understood is an error, since reading on without it would be a shorter list. Sources: RFC 8288 section 3,
//! distribution-spec "Listing Tags".

use std::{collections::HashSet, hash::BuildHasher as _, hash::RandomState};

use http::{HeaderMap, header};

use super::{
    origin::{Link, Origin},
    problem::Problem,
};

/// The pages of one list, as far as they were followed.
pub(crate) struct Trail {
    what: &'static str,
    /// The cap on pages, at least 1.
    limit: u32,
    followed: u32,
    /// With a key of this process, so that nobody can choose links that collide.
    hasher: RandomState,
    seen: HashSet<u64>,
}

impl Trail {
    /// `what` names the list in errors, for instance "tags".
    pub(crate) fn new(what: &'static str, limit: u32) -> Self {
        Self {
            what,
            limit: limit.max(1),
            followed: 0,
            hasher: RandomState::new(),
            seen: HashSet::new(),
        }
    }

    /// The page that comes after the answer of `from`; `None` when that was the last.
    pub(crate) fn next(
        &mut self,
        from: &Link,
        home: &Origin,
        headers: &HeaderMap,
    ) -> Result<Option<Link>, Problem> {
        let malformed = |why| Problem::LinkHeader {
            host: from.origin.clone(),
            why,
        };
        let Some(target) = next_target(headers).map_err(malformed)? else {
            return Ok(None);
        };
        let next = from
            .join(&target)
            .ok_or_else(|| malformed("its target is no http(s) URL"))?;
        if next.origin != *home {
            return Err(Problem::ForeignLink {
                host: from.origin.clone(),
                target: next.origin,
            });
        }
        self.seen.insert(self.mark(from));
        if !self.seen.insert(self.mark(&next)) {
            return Err(self.repeats("it links to a page that was read before"));
        }
        self.step()?;
        Ok(Some(next))
    }

    /// The number of the page that is asked for next or again, from 1.
    pub(crate) fn page(&self) -> u32 {
        self.followed + 1
    }

    /// Counts a page that is asked for beyond the first.
    pub(crate) fn step(&mut self) -> Result<(), Problem> {
        self.followed += 1;
        if self.followed >= self.limit {
            return Err(Problem::TooManyPages {
                what: self.what,
                limit: self.limit,
            });
        }
        Ok(())
    }

    /// The error for a list that does not get on.
    pub(crate) fn repeats(&self, why: &'static str) -> Problem {
        Problem::Repeats {
            what: self.what,
            why,
        }
    }

    /// All links are on one origin, so that the rest tells them apart however they were written.
    fn mark(&self, link: &Link) -> u64 {
        self.hasher.hash_one(
            link.uri
                .path_and_query()
                .map(http::uri::PathAndQuery::as_str),
        )
    }
}

/// The target of the link whose relation is `next`.
fn next_target(headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    let mut found: Option<String> = None;
    for value in headers.get_all(header::LINK) {
        let text = value.to_str().map_err(|_| "it is not ASCII")?;
        let mut rest = text.trim_start_matches(SEPARATORS);
        while !rest.is_empty() {
            let link = parse(rest)?;
            rest = link.rest;
            if !link.is_next {
                continue;
            }
            if found.as_deref().is_some_and(|found| found != link.target) {
                return Err("it names two different next pages");
            }
            found = Some(link.target.to_owned());
        }
    }
    Ok(found)
}

const SPACE: [char; 2] = [' ', '\t'];
/// Between two links; empty elements are allowed in a list (RFC 9110 section 5.6.1).
const SEPARATORS: [char; 3] = [' ', '\t', ','];

struct Parsed<'a> {
    target: &'a str,
    is_next: bool,
    rest: &'a str,
}

fn parse(text: &str) -> Result<Parsed<'_>, &'static str> {
    let text = text
        .strip_prefix('<')
        .ok_or("a target does not stand in <>")?;
    let (target, mut rest) = text
        .split_once('>')
        .ok_or("a target does not stand in <>")?;
    let (mut relation, mut has_anchor) = (None, false);
    while let Some((name, value, after)) = parameter(rest)? {
        rest = after;
        if name.eq_ignore_ascii_case("anchor") {
            has_anchor = true;
        } else if name.eq_ignore_ascii_case("rel") && relation.is_none() {
            // The first one counts (RFC 8288 section 3.3).
            relation = Some(value);
        }
    }
    let rest = after_link(rest)?;
    let is_next = relation
        .unwrap_or_default()
        .split_ascii_whitespace()
        .any(|relation| relation.eq_ignore_ascii_case("next"));
    if is_next && has_anchor {
        return Err("the next page belongs to another document (anchor)");
    }
    Ok(Parsed {
        target: target.trim(),
        is_next,
        rest,
    })
}

fn after_link(rest: &str) -> Result<&str, &'static str> {
    let rest = rest.trim_start_matches(SPACE);
    if rest.is_empty() || rest.starts_with(',') {
        return Ok(rest.trim_start_matches(SEPARATORS));
    }
    Err("something stands behind a link")
}

type Parameter<'a> = (&'a str, String, &'a str);

/// One `;name=value`; the value may be absent, bare or quoted. `None` at the end of the link.
fn parameter(text: &str) -> Result<Option<Parameter<'_>>, &'static str> {
    let mut rest = text.trim_start_matches(SPACE);
    if !rest.starts_with(';') {
        return Ok(None);
    }
    rest = rest.trim_start_matches([' ', '\t', ';']);
    let (name, after) = rest.split_at(rest.find(['=', ';', ',', ' ', '\t']).unwrap_or(rest.len()));
    rest = after.trim_start_matches(SPACE);
    let Some(value) = rest.strip_prefix('=') else {
        return Ok(Some((name, String::new(), rest)));
    };
    let value = value.trim_start_matches(SPACE);
    if let Some(quoted) = value.strip_prefix('"') {
        let (value, rest) = unquote(quoted)?;
        return Ok(Some((name, value, rest)));
    }
    let (value, rest) = value.split_at(value.find([';', ',', ' ', '\t']).unwrap_or(value.len()));
    Ok(Some((name, value.to_owned(), rest)))
}

/// What stands before the closing quote, without backslashes, and what follows it.
fn unquote(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    Err("a quoted value does not end")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let pair = |value: &&str| (header::LINK, value.parse().unwrap());
        values.iter().map(pair).collect()
    }

    fn target(values: &[&str]) -> Result<Option<String>, &'static str> {
        next_target(&headers(values))
    }

    #[test]
    fn the_next_page_is_found_in_every_form_of_the_header() {
        for form in [
            r#"</n?a,b;c>; rel="next""#,
            "</n?a,b;c>;rel=next",
            "</n?a,b;c> ; REL = NEXT",
            r#"</n?a,b;c>; rel="last next""#,
            r#"</n?a,b;c>; title="a, \"b\"; rel=\"prev\""; rel="next""#,
            "</n?a,b;c>; rel=next; rel=prev",
            r#"</x>; rel="prev", </n?a,b;c>; rel="next", </y>; rel=first"#,
            r#", ,</n?a,b;c>; rel="Next","#,
            "</n?a,b;c>; type=text/html; nofollow; rel=next;",
            "</n?a,b;c>; rel=next, </n?a,b;c>; rel=next",
            "< /n?a,b;c >; rel=next",
        ] {
            assert_eq!(target(&[form]), Ok(Some("/n?a,b;c".into())), "{form}");
        }
        assert_eq!(
            target(&["</x>; rel=prev", "</n>; rel=next"]),
            Ok(Some("/n".into()))
        );
    }

    #[test]
    fn a_header_without_a_next_page_is_the_end() {
        for form in [
            "",
            ",",
            "</x>",
            "</x>; rel=prev",
            "</x>; rel=nextpage",
            "</x>; rev=next",
            r#"</x>; title="rel=next""#,
            "</x>; rel=prev; rel=next",
        ] {
            assert_eq!(target(&[form]), Ok(None), "{form}");
        }
        assert_eq!(target(&[]), Ok(None));
    }

    #[test]
    fn a_header_that_cannot_be_understood_is_an_error() {
        for form in [
            "/n; rel=next",
            "</n; rel=next",
            r#"</n>; rel="next"#,
            "</n> rel=next",
            "</n>; rel=next x",
            "</n>; rel=next, </m>; rel=next",
            "</n>; rel=next; anchor=\"/x\"",
        ] {
            assert!(target(&[form]).is_err(), "{form}");
        }
        let mut latin = HeaderMap::new();
        latin.insert(
            header::LINK,
            http::HeaderValue::from_bytes(b"</\xe9>; rel=next").unwrap(),
        );
        assert!(next_target(&latin).is_err());
    }

    #[test]
    fn no_prefix_of_a_header_makes_the_parser_fall() {
        let whole = r#"</n?a,b;c>; title="a, \"b\"; x"; rel="next last", <y>;rel=prev;q"#;
        for end in 0..=whole.len() {
            let _ = target(&[&whole[..end]]);
            let _ = target(&[&whole[end..]]);
        }
    }

    fn follow(trail: &mut Trail, from: &str, link: &str) -> Result<Option<String>, Problem> {
        let from = Link::parse(from).unwrap();
        let home = from.origin.clone();
        let header = format!("<{link}>; rel=next");
        let next = trail.next(&from, &home, &headers(&[&header]))?;
        Ok(next.map(|link| link.uri.to_string()))
    }

    const PAGE: &str = "https://r.example/v2/a/tags/list?n=2";

    #[test]
    fn links_are_followed_within_the_origin_only() {
        let next = |link: &str| follow(&mut Trail::new("tags", 9), PAGE, link);
        assert_eq!(
            next("/v2/x?%7e=1&next_page=a%3D").unwrap().unwrap(),
            "https://r.example:443/v2/x?%7e=1&next_page=a%3D"
        );
        assert_eq!(
            next("?n=2&last=b").unwrap().unwrap(),
            "https://r.example:443/v2/a/tags/list?n=2&last=b"
        );
        assert_eq!(
            next("https://R.example:443/x").unwrap().unwrap(),
            "https://R.example:443/x"
        );
        for foreign in [
            "http://r.example/v2/x",
            "https://r.example:444/v2/x",
            "https://s.example/v2/x",
            "//s.example/v2/x",
            "https://r.example.evil/x",
        ] {
            let got = next(foreign);
            assert!(
                matches!(got, Err(Problem::ForeignLink { .. })),
                "{foreign}: {got:?}"
            );
        }
        for bad in [
            "",
            "ftp://r.example/",
            "https://u:p@r.example/x",
            "https://r.example:0/",
        ] {
            assert!(
                matches!(next(bad), Err(Problem::LinkHeader { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_circle_of_links_is_noticed_however_it_is_written() {
        let mut trail = Trail::new("tags", 9);
        let second = follow(&mut trail, PAGE, "?n=2&last=b").unwrap().unwrap();
        let third = follow(&mut trail, &second, "?n=2&last=c").unwrap().unwrap();
        let back = follow(
            &mut trail,
            &third,
            "https://r.example/v2/a/tags/list?n=2&last=b",
        );
        assert!(matches!(back, Err(Problem::Repeats { .. })), "{back:?}");
        let itself = follow(&mut Trail::new("tags", 9), PAGE, PAGE);
        assert!(matches!(itself, Err(Problem::Repeats { .. })));
    }

    #[test]
    fn pages_end_at_their_cap() {
        let mut trail = Trail::new("tags", 3);
        assert!(follow(&mut trail, PAGE, "?1").is_ok());
        assert!(follow(&mut trail, PAGE, "?2").is_ok());
        let error = follow(&mut trail, PAGE, "?3").unwrap_err().to_string();
        assert!(error.contains("more than the limit of 3 pages"), "{error}");
    }
}
