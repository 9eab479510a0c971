// SPDX-License-Identifier: Apache-2.0
//! The settings file of registries (`--registries-config`): YAML, one section per host.
//!
//! A path enters; the [`Hosts`] of a client leave, or a [`Failure`] that names the file, the key and what is wrong with
//! it. Files that it names are read here too, once; a path that is not absolute is taken from where the settings file is.
//! No error repeats what may be a secret.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_path_to_error::Track;
use wharf_oci::registry::{Credentials, Host, HostLimits, Hosts, Mirror, Proxy, Secret, Tls};

use super::{Failure, registry::read_capped};

/// Larger ones are something else.
const MAX_FILE: u64 = 1 << 20;
/// Names and passwords.
const MAX_SECRET: u64 = 1 << 16;
/// Each may cost a try before the registry itself is asked.
const MAX_MIRRORS: usize = 16;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    hosts: Option<BTreeMap<String, Option<Section>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Section {
    mirrors: Vec<MirrorEntry>,
    ca_file: Option<PathBuf>,
    ca_data: Option<String>,
    client_certificate: Option<ClientCertificate>,
    #[serde(rename = "plainHTTP")]
    plain_http: bool,
    proxy: Option<String>,
    proxy_username: Option<String>,
    proxy_password_file: Option<PathBuf>,
    rate: Option<String>,
    concurrency: Option<NonZeroU32>,
    credentials: Option<CredentialsEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct MirrorEntry {
    url: String,
    #[serde(default)]
    resolve_tags: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ClientCertificate {
    cert_file: PathBuf,
    key_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CredentialsEntry {
    username: Option<String>,
    username_file: Option<PathBuf>,
    password_file: PathBuf,
}

/// Reads the file, and all that it names. Without a file nothing is set for any host.
pub(super) fn load(path: Option<&Path>) -> Result<Hosts, Failure> {
    let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else {
        return Ok(Hosts::default());
    };
    let bytes = read_capped(path, MAX_FILE)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::plain(format!("{} is not text in UTF-8", path.display())))?;
    hosts(path, &document(path, &text)?)
}

fn document(path: &Path, text: &str) -> Result<Document, Failure> {
    let options = serde_saphyr::options! {
        // A snippet could carry into a log what should not have been in the file.
        with_snippet: false,
        budget: serde_saphyr::budget! { max_events: 100_000, max_depth: 16 },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 10_000 },
    };
    let mut track = Track::new();
    let read = serde_saphyr::with_deserializer_from_str_with_options(text, options, |yaml| {
        Document::deserialize(serde_path_to_error::Deserializer::new(yaml, &mut track))
    });
    read.map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        let key = match track.path() {
            key if key.iter().len() == 0 => String::new(),
            key => format!("{key}: "),
        };
        let what = error.to_string();
        let what = plainly(what.lines().next().unwrap_or_default());
        Failure::plain(format!("{}: line {line}: {key}{what}", path.display()))
    })
}

/// What the reader of YAML says, for who writes YAML and not the reader.
fn plainly(said: &str) -> &str {
    let said = said.split(" at line ").next().unwrap_or_default();
    match said.trim_start_matches("error: ") {
        what if what.contains("expected mapping") => "expected keys with values",
        what if what.contains("expected sequence") => "expected a list",
        what if what.contains("expected string scalar") => "expected a text",
        what if what.contains("invalid u32") => "expected a number of 1 or more",
        what if what.contains("nonzero") => "expected a number of 1 or more",
        what if what.contains("invalid bool") => "expected true or false",
        what => what,
    }
}

fn hosts(path: &Path, document: &Document) -> Result<Hosts, Failure> {
    let unset = Section::default();
    let mut seen = HashMap::new();
    let mut settings = Vec::new();
    for (host, section) in document.hosts.iter().flatten() {
        let place = Place { file: path, host };
        if host.contains('/') || Mirror::parse(host, false).is_err() {
            return Err(place.wrong(
                "",
                "this is not a host name or address with an optional port",
            ));
        }
        if let Some(other) = seen.insert(Hosts::name(host), host) {
            return Err(place.wrong("", &format!("this is the same host as {other}")));
        }
        let section = section.as_ref().unwrap_or(&unset);
        settings.push((host.clone(), place.host(section)?));
    }
    Ok(Hosts::new(settings))
}

/// Where in which file, for messages.
struct Place<'a> {
    file: &'a Path,
    host: &'a str,
}

impl Place<'_> {
    fn host(&self, section: &Section) -> Result<Host, Failure> {
        let credentials = section.credentials.as_ref();
        let credentials = credentials
            .map(|entry| self.credentials(entry))
            .transpose()?;
        let rate = section.rate.as_deref().map(str::parse).transpose();
        Ok(Host {
            mirrors: self.mirrors(&section.mirrors)?,
            tls: self.tls(section)?,
            plain_http: section.plain_http,
            proxy: self.proxy(section)?,
            mirror_credentials: credentials.unwrap_or_default(),
            limits: HostLimits {
                concurrency: section.concurrency,
                rate: rate.map_err(|error| self.wrong("rate", &error))?,
            },
        })
    }

    fn mirrors(&self, entries: &[MirrorEntry]) -> Result<Vec<Mirror>, Failure> {
        if entries.len() > MAX_MIRRORS {
            let many = format!("more than {MAX_MIRRORS} mirrors");
            return Err(self.wrong("mirrors", &many));
        }
        let mirror = |(index, entry): (usize, &MirrorEntry)| {
            let key = format!("mirrors[{index}].url");
            let mirror = Mirror::parse(&entry.url, entry.resolve_tags)
                .map_err(|error| self.wrong(&key, &error))?;
            if Hosts::name(&mirror.to_string()) == Hosts::name(self.host) {
                return Err(self.wrong(&key, "a host is not its own mirror"));
            }
            Ok(mirror)
        };
        entries.iter().enumerate().map(mirror).collect()
    }

    fn tls(&self, section: &Section) -> Result<Option<Tls>, Failure> {
        let ca = match (&section.ca_file, &section.ca_data) {
            (Some(_), Some(_)) => return Err(self.wrong("caData", "there is a caFile already")),
            (Some(path), None) => Some(("caFile", self.read("caFile", path, MAX_FILE)?)),
            (None, Some(data)) => Some(("caData", data.clone().into_bytes())),
            (None, None) => None,
        };
        let pair = section.client_certificate.as_ref();
        if ca.is_none() && pair.is_none() {
            return Ok(None);
        }
        let mut tls = Tls::default();
        if let Some((key, pem)) = ca {
            tls = tls
                .with_ca_pem(&pem, &self.name(key))
                .map_err(|error| self.failed(key, error))?;
        }
        if let Some(ClientCertificate {
            cert_file,
            key_file,
        }) = pair
        {
            let key = "clientCertificate";
            let certificate = self.read(&format!("{key}.certFile"), cert_file, MAX_FILE)?;
            let private = self.read(&format!("{key}.keyFile"), key_file, MAX_FILE)?;
            tls = tls
                .with_client_certificate(&certificate, &private, &self.name(key))
                .map_err(|error| self.failed(key, error))?;
        }
        Ok(Some(tls))
    }

    fn proxy(&self, section: &Section) -> Result<Option<Proxy>, Failure> {
        let Some(address) = &section.proxy else {
            return match (&section.proxy_username, &section.proxy_password_file) {
                (None, None) => Ok(None),
                _ => Err(self.wrong("proxyUsername", "there is no proxy that it is for")),
            };
        };
        if address.contains('@') {
            let words = "a name and password do not stand in the address: use proxyUsername and proxyPasswordFile";
            return Err(self.wrong("proxy", words));
        }
        let name = section.proxy_username.as_deref();
        let password = section.proxy_password_file.as_deref();
        if password.is_some() && name.is_none() {
            return Err(self.wrong(
                "proxyPasswordFile",
                "there is no proxyUsername that it is for",
            ));
        }
        let password = password
            .map(|path| self.secret("proxyPasswordFile", path))
            .transpose()?;
        let proxy = Proxy::parse(address, name, password.map(Secret::from));
        proxy.map(Some).map_err(|error| self.wrong("proxy", &error))
    }

    fn credentials(&self, entry: &CredentialsEntry) -> Result<Credentials, Failure> {
        let username = match (&entry.username, &entry.username_file) {
            (Some(name), None) if !name.is_empty() => name.clone(),
            (None, Some(path)) => self.secret("credentials.usernameFile", path)?,
            _ => {
                return Err(self.wrong("credentials", "one of username and usernameFile is needed"));
            }
        };
        let password = self.secret("credentials.passwordFile", &entry.password_file)?;
        let source = self.name("credentials");
        Ok(Credentials::basic(username, password, source))
    }

    /// A text in a file of its own, without the end of its line.
    fn secret(&self, key: &str, path: &Path) -> Result<String, Failure> {
        let bytes = self.read(key, path, MAX_SECRET)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| self.wrong(key, "the file is not text in UTF-8"))?;
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(self.wrong(key, "the file is empty"));
        }
        Ok(text.to_owned())
    }

    fn read(&self, key: &str, path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
        let beside = self.file.parent().unwrap_or_else(|| Path::new(""));
        read_capped(&beside.join(path), limit).map_err(|error| self.failed(key, error))
    }

    fn name(&self, key: &str) -> String {
        let (file, host) = (self.file.display(), self.host);
        let dot = if key.is_empty() { "" } else { "." };
        format!("{file}: hosts.{host}{dot}{key}")
    }

    fn wrong(&self, key: &str, what: &(impl std::fmt::Display + ?Sized)) -> Failure {
        Failure::plain(format!("{}: {what}", self.name(key)))
    }

    fn failed(&self, key: &str, error: impl std::error::Error + Send + Sync + 'static) -> Failure {
        Failure::new(format!("{} cannot be used", self.name(key)), error)
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error as _, fs};

    use super::*;

    const PASSWORD: &str = "canary-password";

    fn directory() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        fs::write(dir.path().join("empty"), "\n").unwrap();
        fs::write(dir.path().join("large"), vec![b'x'; 2 << 20]).unwrap();
        let names = ["localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        fs::write(dir.path().join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        dir
    }

    fn loaded(text: &str) -> Result<Hosts, Failure> {
        let dir = directory();
        let path = dir.path().join("registries.yaml");
        fs::write(&path, text).unwrap();
        load(Some(&path))
    }

    /// The message with its causes.
    fn refused(text: &str) -> String {
        let failure = loaded(text).unwrap_err();
        let cause = failure
            .source()
            .map(ToString::to_string)
            .unwrap_or_default();
        let all = format!("{failure}: {cause}");
        assert!(!all.contains("canary"), "{all}");
        assert!(!format!("{failure:?}").contains("canary"), "{failure:?}");
        all
    }

    #[test]
    fn everything_that_can_be_set_is_read() {
        let hosts = loaded(
            "hosts:
  docker.io:
    mirrors:
      - url: https://mirror.example:5000/hub
      - {url: other.example, resolveTags: true}
    rate: 100/6h
    concurrency: 8
    caFile: cert.pem
    clientCertificate: {certFile: cert.pem, keyFile: key.pem}
    proxy: http://proxy.example:3128
    proxyUsername: me
    proxyPasswordFile: password
  mirror.example:5000:
    plainHTTP: true
    credentials: {username: me, passwordFile: password}
  other.example:
",
        )
        .unwrap();
        let hub = hosts.of("index.docker.io").unwrap();
        let mirrors: Vec<_> = hub.mirrors.iter().map(ToString::to_string).collect();
        assert_eq!(mirrors, ["mirror.example:5000/hub", "other.example"]);
        assert_eq!(
            hub.mirrors
                .iter()
                .map(Mirror::resolves_tags)
                .collect::<Vec<_>>(),
            [false, true]
        );
        assert!(hub.tls.is_some() && hub.proxy.is_some());
        assert_eq!(hub.limits.concurrency, NonZeroU32::new(8));
        assert_eq!(hub.limits.rate, "100/6h".parse().ok());
        let mirror = hosts.of("mirror.example:5000").unwrap();
        assert!(mirror.plain_http);
        let source = mirror.mirror_credentials.source().unwrap();
        assert!(
            source.ends_with("registries.yaml: hosts.mirror.example:5000.credentials"),
            "{source}"
        );
        assert!(!format!("{hosts:?}").contains("canary"));
    }

    #[test]
    fn a_file_that_says_nothing_sets_nothing() {
        for text in ["", "hosts:\n", "hosts: {}\n", "# nothing\n"] {
            assert!(loaded(text).is_ok(), "{text:?}: {}", refused(text));
        }
        assert!(load(None).is_ok());
    }

    #[test]
    fn what_is_not_known_is_refused_by_name_and_place() {
        for (text, named) in [
            ("host: {}", "host"),
            ("hosts:\n  a.example:\n    mirorrs: []", "mirorrs"),
            ("hosts:\n  a.example:\n    password: canary", "password"),
            (
                "hosts:\n  a.example:\n    mirrors: [{url: b.example, resolvetags: true}]",
                "resolvetags",
            ),
        ] {
            let told = refused(text);
            let line = text.lines().count();
            assert!(
                told.contains(named) && told.contains(&format!("line {line}:")),
                "{told}"
            );
        }
    }

    #[test]
    fn a_value_that_cannot_be_used_names_its_key() {
        for (section, named) in [
            (
                "mirrors: [{url: 'https://me:canary@b.example'}]",
                "hosts.a.example.mirrors[0].url",
            ),
            (
                "mirrors: [{url: b.example}, {url: 'ftp://b.example'}]",
                "mirrors[1].url",
            ),
            ("mirrors: [{url: 'https://A.example'}]", "its own mirror"),
            ("mirrors: [{resolveTags: true}]", "url"),
            ("rate: often", "hosts.a.example.rate"),
            ("rate: 20", "rate"),
            (
                "concurrency: 0",
                "hosts.a.example.concurrency: expected a number",
            ),
            ("concurrency: -1", "concurrency: expected a number"),
            (
                "concurrency: 99999999999",
                "line 3: hosts.a.example.concurrency",
            ),
            ("concurrency: canary", "concurrency: expected a number"),
            ("plainHTTP: maybe", "plainHTTP: expected true or false"),
            (
                "mirrors: canary",
                "line 3: hosts.a.example.mirrors: expected a list",
            ),
            (
                "mirrors: [canary]",
                "hosts.a.example.mirrors[0]: expected keys",
            ),
            (
                "mirrors: [{url: [canary]}]",
                "mirrors[0].url: expected a text",
            ),
            ("canary", "line 3: hosts.a.example: expected keys"),
            ("[canary]", "hosts.a.example: expected keys"),
            (
                "credentials: canary",
                "hosts.a.example.credentials: expected keys",
            ),
            ("caData: {a: canary}", "caData: expected a text"),
            ("caFile: nowhere.pem", "hosts.a.example.caFile"),
            ("caFile: password", "hosts.a.example.caFile"),
            ("caFile: large", "larger than"),
            ("caData: canary", "hosts.a.example.caData"),
            ("{caData: x, caFile: cert.pem}", "caData"),
            (
                "clientCertificate: {certFile: cert.pem, keyFile: password}",
                "clientCertificate: the key is not usable PEM",
            ),
            (
                "clientCertificate: {certFile: password, keyFile: key.pem}",
                "clientCertificate: the certificate is not usable PEM",
            ),
            ("clientCertificate: {certFile: cert.pem}", "keyFile"),
            (
                "proxy: 'http://me:canary@p.example'",
                "hosts.a.example.proxy",
            ),
            ("proxyUsername: me", "proxyUsername"),
            (
                "{proxy: 'http://p.example', proxyPasswordFile: password}",
                "proxyPasswordFile",
            ),
            (
                "{proxy: 'http://p.example', proxyUsername: me, proxyPasswordFile: nowhere}",
                "proxyPasswordFile",
            ),
            (
                "credentials: {passwordFile: password}",
                "hosts.a.example.credentials",
            ),
            (
                "credentials: {username: me, usernameFile: password, passwordFile: password}",
                "credentials",
            ),
            ("credentials: {username: me}", "passwordFile"),
            (
                "credentials: {username: me, passwordFile: empty}",
                "is empty",
            ),
            (
                "credentials: {username: me, passwordFile: large}",
                "larger than",
            ),
        ] {
            let told = refused(&format!("hosts:\n  a.example:\n    {section}\n"));
            assert!(told.contains(named), "{section}: {told}");
            assert!(told.contains("registries.yaml"), "{told}");
        }
    }

    #[test]
    fn a_host_is_one_host_and_stands_there_once() {
        for text in [
            "hosts:\n  docker.io: {}\n  index.docker.io: {}",
            "hosts:\n  a.example: {}\n  A.example: {}",
            "hosts:\n  a.example: {}\n  a.example: {}",
        ] {
            refused(text);
        }
        for host in [
            "''",
            "https://a.example",
            "a.example/b",
            "a b",
            "a:0",
            "'*.example'",
        ] {
            assert!(
                refused(&format!("hosts:\n  {host}: {{}}")).contains("host name"),
                "{host}"
            );
        }
    }

    #[test]
    fn what_is_no_yaml_of_a_sensible_size_is_refused() {
        let many = "      - url: b.example\n".repeat(17);
        let many = format!("hosts:\n  a.example:\n    mirrors:\n{many}");
        for text in [
            "{",
            "[]",
            "7",
            "hosts: [a]",
            "\u{0}",
            &"[".repeat(100_000),
            &many,
        ] {
            refused(text);
        }
        let dir = directory();
        for (name, words) in [("large", "larger than"), ("nowhere", "could not read")] {
            let failure = load(Some(&dir.path().join(name))).unwrap_err().to_string();
            assert!(failure.contains(words), "{failure}");
        }
        fs::write(dir.path().join("binary"), [0xff, 0xfe]).unwrap();
        assert!(load(Some(&dir.path().join("binary"))).is_err());
    }
}
