// SPDX-License-Identifier: Apache-2.0
//! Certificates as people make them by hand, with the `openssl` of this machine, right and wrong.
//!
//! [`table`] gives every kind that a registry was seen with, what is configured as `ca.crt` for it, and what has to come
//! of it: Go's answer (and so Flux's) except where a case says so. `openssl` must be installed.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::tls::Identity;

/// A certificate, what is configured, and what has to come of it.
pub struct Case {
    /// A name that can be that of an object.
    pub name: &'static str,
    /// What the registry shows.
    pub identity: Identity,
    /// What is configured as `ca.crt`.
    pub ca: String,
    /// Nothing if it is accepted, else words that the refusal has to contain.
    pub refused: Option<&'static [&'static str]>,
}

/// All cases, for a registry that is reached as `127.0.0.1`.
///
/// # Panics
/// When `openssl` is missing or refuses.
pub fn table() -> Vec<Case> {
    let folder = OpenSsl::new();
    let mut cases = folder.self_signed();
    cases.extend(folder.signed_by_authorities());
    cases.extend(folder.impostors());
    cases.extend(folder.weak());
    cases
}

/// A folder that `openssl` works in.
pub struct OpenSsl {
    folder: TempDir,
}

impl Default for OpenSsl {
    fn default() -> Self {
        Self::new()
    }
}

impl Case {
    fn new(
        name: &'static str,
        identity: Identity,
        ca: &str,
        refused: Option<&'static [&'static str]>,
    ) -> Self {
        Self {
            name,
            identity,
            ca: ca.to_owned(),
            refused,
        }
    }
}

/// Who signs.
struct Issuer<'a> {
    certificate: &'a str,
    key: &'a str,
}

impl<'a> Issuer<'a> {
    fn of(identity: &'a Identity) -> Self {
        Self {
            certificate: identity.certificate_pem(),
            key: identity.key_pem(),
        }
    }
}

const SAN: &str = "subjectAltName=DNS:registry.example,IP:127.0.0.1";
const EC: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

impl OpenSsl {
    /// A new one.
    ///
    /// # Panics
    /// When there is no place for it.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("make a folder");
        Self { folder }
    }

    /// `openssl req -x509`, with a new key and these arguments. Without any it is an authority, by openssl's defaults.
    pub fn req_x509(&self, common_name: &str, more: &[&str]) -> Identity {
        let subject = format!("/CN={common_name}");
        let mut args = vec![
            "req", "-x509", "-nodes", "-keyout", "key.pem", "-days", "30",
        ];
        args.extend(["-out", "cert.pem", "-subj", &subject]);
        if !more.contains(&"-newkey") && !more.contains(&"-key") {
            args.extend(EC);
        }
        args.extend(more);
        if more.contains(&"-key") {
            args = without(&args, "-keyout");
        }
        self.run(&args);
        let key = match more.iter().position(|arg| *arg == "-key") {
            Some(at) => more[at + 1],
            None => "key.pem",
        };
        Identity::from_pem(self.read("cert.pem"), self.read(key))
    }

    fn authority(&self, name: &str, more: &[&str]) -> Identity {
        let mut args = vec!["-addext", "keyUsage=critical,keyCertSign,cRLSign"];
        args.extend(more);
        self.req_x509(name, &args)
    }

    /// A certificate that this authority signs, with these extensions.
    fn leaf(
        &self,
        issuer: &Issuer<'_>,
        name: &str,
        extensions: &[&str],
        more: &[&str],
    ) -> Identity {
        let subject = format!("/CN={name}");
        let mut request = vec![
            "req", "-new", "-nodes", "-keyout", "key.pem", "-out", "leaf.csr",
        ];
        request.extend(["-subj", &subject]);
        request.extend(EC);
        self.run(&request);
        self.write("ca.pem", issuer.certificate);
        self.write("ca-key.pem", issuer.key);
        self.write("extensions.cnf", &extensions.join("\n"));
        let mut sign = vec!["x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey"];
        sign.extend([
            "ca-key.pem",
            "-CAcreateserial",
            "-days",
            "30",
            "-out",
            "cert.pem",
        ]);
        sign.extend(["-extfile", "extensions.cnf"]);
        sign.extend(more);
        self.run(&sign);
        Identity::from_pem(self.read("cert.pem"), self.read("key.pem"))
    }

    /// `openssl req -x509` for another time: openssl lets only its `ca` command choose both ends.
    fn dated(&self, start: &str, end: &str) -> Identity {
        let request = [
            "req", "-new", "-nodes", "-keyout", "key.pem", "-out", "leaf.csr",
        ];
        self.run(&[&request, EC, &["-subj", "/CN=registry"]].concat());
        let mut config =
            "[ca]\ndefault_ca=here\n[here]\ndatabase=index.txt\nserial=serial\nnew_certs_dir=.\n"
                .to_owned();
        let _ = write!(
            config,
            "default_md=sha256\npolicy=any\nx509_extensions=own\nunique_subject=no\n[any]\ncommonName=supplied\n\
             [own]\nbasicConstraints=critical,CA:TRUE\n{SAN}\n"
        );
        self.write("ca.cnf", &config);
        self.write("index.txt", "");
        self.write("serial", "01\n");
        self.run(&[
            "ca",
            "-batch",
            "-selfsign",
            "-notext",
            "-config",
            "ca.cnf",
            "-in",
            "leaf.csr",
            "-keyfile",
            "key.pem",
            "-out",
            "cert.pem",
            "-startdate",
            start,
            "-enddate",
            end,
        ]);
        Identity::from_pem(self.read("cert.pem"), self.read("key.pem"))
    }

    /// What signs itself and is configured itself.
    fn self_signed(&self) -> Vec<Case> {
        let own = |name, identity: Identity, refused| Case {
            name,
            ca: identity.certificate_pem().to_owned(),
            identity,
            refused,
        };
        let plain = |more: &[&str]| self.req_x509("registry", &[&["-addext", SAN], more].concat());
        vec![
            own("self-signed-ca-true", plain(&[]), None),
            own(
                "self-signed-ca-false",
                plain(&["-addext", "basicConstraints=critical,CA:FALSE"]),
                None,
            ),
            own("self-signed-rsa", plain(&["-newkey", "rsa:2048"]), None),
            // Version 1 has no extensions, so no names: Go refuses it for that, and not for its age.
            own(
                "version-1",
                self.version_1(),
                Some(&[
                    "no subject alternative names",
                    "subjectAltName=IP:127.0.0.1",
                ]),
            ),
            own(
                "common-name-only",
                self.req_x509("127.0.0.1", &[]),
                Some(&[
                    "a common name does not count",
                    "subjectAltName=IP:127.0.0.1",
                    "subject \"CN=127.0.0.1\"",
                ]),
            ),
            own(
                "expired",
                self.dated("20200101000000Z", "20210101000000Z"),
                Some(&["has expired", "2021-01-01"]),
            ),
            own(
                "not-yet-valid",
                self.dated("20400101000000Z", "20450101000000Z"),
                Some(&["is not valid yet", "2040-01-01"]),
            ),
            own(
                "wrong-name",
                self.req_x509(
                    "registry",
                    &[
                        "-addext",
                        "subjectAltName=DNS:elsewhere.example,IP:10.9.8.7",
                    ],
                ),
                Some(&[
                    "presented for 127.0.0.1 is not valid for that name",
                    "names elsewhere.example, 10.9.8.7",
                ]),
            ),
            own(
                "client-only",
                plain(&["-addext", "extendedKeyUsage=clientAuth"]),
                Some(&["is not meant for servers"]),
            ),
        ]
    }

    /// `openssl x509 -req -signkey` without extensions, as instructions from before 2010 have it.
    fn version_1(&self) -> Identity {
        let request = ["req", "-new", "-nodes", "-keyout", "key.pem"];
        let request = [&request, EC, &["-subj", "/CN=127.0.0.1"]].concat();
        // Without this flag `x509` knew no other version; since there is one, it makes version 3.
        if self.run(&["req", "-help"]).contains("-x509v1") {
            let more = ["-x509v1", "-days", "30", "-out", "cert.pem"];
            self.run(&[&request[..], &more].concat());
        } else {
            self.run(&[&request[..], &["-out", "leaf.csr"]].concat());
            self.run(&[
                "x509", "-req", "-in", "leaf.csr", "-signkey", "key.pem", "-days", "30", "-out",
                "cert.pem",
            ]);
        }
        let told = self.run(&["x509", "-in", "cert.pem", "-noout", "-text"]);
        assert!(told.contains("Version: 1 "), "not version 1: {told}");
        Identity::from_pem(self.read("cert.pem"), self.read("key.pem"))
    }

    /// What an authority signs, rightly and wrongly.
    fn signed_by_authorities(&self) -> Vec<Case> {
        let root = self.authority("Harbour Root", &[]);
        let other = self.authority("Other Root", &[]);
        let ca = root.certificate_pem();
        let leaf = |extensions: &[&str], more: &[&str]| {
            self.leaf(&Issuer::of(&root), "registry", extensions, more)
        };
        let bundle = format!("{}{ca}", other.certificate_pem());
        let accepted = |name, identity| Case::new(name, identity, ca, None);
        let refused = |name, identity, words| Case::new(name, identity, ca, Some(words));
        let mut cases = vec![
            accepted("authority-and-leaf", leaf(&[SAN], &[])),
            accepted("address-only", leaf(&["subjectAltName=IP:127.0.0.1"], &[])),
            Case::new("bundle", leaf(&[SAN], &[]), &bundle, None),
            Case::new(
                "unknown-authority",
                leaf(&[SAN], &[]),
                other.certificate_pem(),
                Some(&["unknown issuer, \"CN=Harbour Root\"", "`ca.crt`", "sha256:"]),
            ),
            refused(
                "leaf-expired",
                leaf(&[SAN], &["-days", "-1"]),
                &["has expired"],
            ),
            refused(
                "leaf-common-name-only",
                leaf(&["keyUsage=digitalSignature"], &[]),
                &["a common name does not count"],
            ),
            refused(
                "leaf-wrong-name",
                leaf(&["subjectAltName=DNS:elsewhere.example"], &[]),
                &["not valid for that name", "names elsewhere.example"],
            ),
            refused(
                "leaf-client-only",
                leaf(&[SAN, "extendedKeyUsage=clientAuth"], &[]),
                &["is not meant for servers"],
            ),
            refused(
                "authority-as-server",
                leaf(&[SAN, "basicConstraints=critical,CA:TRUE"], &[]),
                &["is that of an authority"],
            ),
        ];
        cases.extend(self.chains(&root, &other));
        cases
    }

    /// What stands behind an intermediate authority, or one that may not sign for all.
    fn chains(&self, root: &Identity, other: &Identity) -> Vec<Case> {
        let extensions = ["basicConstraints=critical,CA:TRUE"];
        let middle = self.leaf(&Issuer::of(root), "Harbour Middle", &extensions, &[]);
        let end = self.leaf(&Issuer::of(&middle), "registry", &[SAN], &[]);
        let (middle, ca) = (middle.certificate_pem(), root.certificate_pem());
        let alone = || Identity::from_pem(end.certificate_pem(), end.key_pem());
        let whole =
            || Identity::from_pem(format!("{}{middle}", end.certificate_pem()), end.key_pem());
        vec![
            Case::new("whole-chain", whole(), ca, None),
            Case::new(
                "chain-from-the-secret",
                alone(),
                &format!("{middle}{ca}"),
                None,
            ),
            Case::new(
                "missing-intermediate",
                alone(),
                ca,
                Some(&[
                    "unknown issuer, \"CN=Harbour Middle\"",
                    "let the registry send it behind its own certificate",
                    "subject \"CN=registry\"",
                    "sha256:",
                ]),
            ),
            Case::new(
                "unknown-root-of-a-chain",
                whole(),
                other.certificate_pem(),
                Some(&[
                    "the registry sent 1 more",
                    "signed by \"CN=Harbour Root\"",
                    "`ca.crt`",
                ]),
            ),
            self.constrained(
                "name-constraints-kept",
                "permitted;IP:127.0.0.0/255.0.0.0",
                None,
            ),
            self.constrained(
                "name-constraints-broken",
                "permitted;IP:10.0.0.0/255.0.0.0",
                Some(&["name constraints"]),
            ),
        ]
    }

    fn constrained(
        &self,
        name: &'static str,
        constraint: &str,
        refused: Option<&'static [&'static str]>,
    ) -> Case {
        let constraint = format!("nameConstraints=critical,{constraint}");
        let root = self.authority("Narrow Root", &["-addext", &constraint]);
        let signs = Issuer::of(&root);
        Case {
            name,
            identity: self.leaf(&signs, "registry", &["subjectAltName=IP:127.0.0.1"], &[]),
            ca: root.certificate_pem().to_owned(),
            refused,
        }
    }

    /// What looks like something that is configured.
    fn impostors(&self) -> Vec<Case> {
        let own = self.req_x509("registry", &["-addext", SAN]);
        let ca = own.certificate_pem().to_owned();
        self.write("own-key.pem", own.key_pem());
        let twin = self.req_x509("registry", &["-addext", SAN, "-key", "own-key.pem"]);
        let stranger = self.req_x509("registry", &["-addext", SAN]);
        let other_key = Identity::from_pem(own.certificate_pem(), stranger.key_pem());
        let no_authority = self.req_x509(
            "Mere Server",
            &["-addext", SAN, "-addext", "basicConstraints=CA:FALSE"],
        );
        let signs = Issuer::of(&no_authority);
        let by_server = self.leaf(&signs, "registry", &[SAN], &[]);
        let (one, two) = (
            self.authority("Same Root", &[]),
            self.authority("Same Root", &[]),
        );
        let signs = Issuer::of(&two);
        let by_namesake = self.leaf(&signs, "registry", &[SAN], &[]);
        let case = |name, identity, ca: &str, words| Case::new(name, identity, ca, Some(words));
        vec![
            case(
                "twin-with-the-same-key",
                twin,
                &ca,
                &[
                    "has the same key, but it is another certificate",
                    "unknown issuer",
                ],
            ),
            case("anchor-with-another-key", other_key, &ca, &["handshake"]),
            case(
                "made-anew",
                stranger,
                &ca,
                &["the trusted certificate of that name has another key"],
            ),
            case(
                "signed-by-a-server",
                by_server,
                no_authority.certificate_pem(),
                &["does not say that it is an authority"],
            ),
            case(
                "namesake-authority",
                by_namesake,
                one.certificate_pem(),
                &["is not signed by the trusted \"CN=Same Root\""],
            ),
        ]
    }

    /// What was good enough once.
    fn weak(&self) -> Vec<Case> {
        let root = self.authority("Old Root", &[]);
        let signs = Issuer::of(&root);
        vec![Case {
            name: "sha-1",
            identity: self.leaf(&signs, "registry", &[SAN], &["-sha1"]),
            ca: root.certificate_pem().to_owned(),
            refused: Some(&["such as SHA-1"]),
        }]
    }

    /// A self-signed certificate with an RSA key of 1024 bits, which no server of ours would load.
    pub fn short_rsa(&self) -> Identity {
        self.req_x509("registry", &["-addext", SAN, "-newkey", "rsa:1024"])
    }

    /// What it says.
    fn run(&self, args: &[&str]) -> String {
        let ran = Command::new("openssl")
            .args(args)
            .current_dir(self.folder.path())
            .output()
            .expect("start openssl: it must be installed");
        let complaint = String::from_utf8_lossy(&ran.stderr);
        assert!(
            ran.status.success(),
            "openssl {}: {complaint}",
            args.join(" ")
        );
        String::from_utf8_lossy(&ran.stdout).into_owned() + &complaint
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("read what openssl wrote")
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("write a file for openssl");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The arguments without an option and its value.
fn without<'a>(args: &[&'a str], option: &str) -> Vec<&'a str> {
    let at = args.iter().position(|arg| *arg == option);
    let keep = |index: &usize| at.is_none_or(|at| *index != at && *index != at + 1);
    let indexes = 0..args.len();
    indexes.filter(keep).map(|index| args[index]).collect()
}
