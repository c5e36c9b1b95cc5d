//! Certificates by openssl: an authority, and what it has issued.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An authority in a directory of its own.
pub(crate) struct Authority {
    directory: tempfile::TempDir,
}

/// Certificate and key of a server, both in PEM.
pub(crate) struct Issued {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

const CONFIGURATION: &str = "[ca]\ndefault_ca = all\n[all]\ndatabase = index\nrand_serial = yes\nnew_certs_dir = .\n\
     default_md = sha256\npolicy = any\ncopy_extensions = copy\nunique_subject = no\n[any]\ncommonName = supplied\n";
const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

impl Authority {
    pub(crate) fn new() -> Self {
        let authority = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::write(authority.file("ca.cnf"), CONFIGURATION).unwrap();
        std::fs::write(authority.file("index"), "").unwrap();
        authority.openssl(&format!(
            "req -x509 {NEW_KEY} -keyout ca.key -out ca.pem -subj /CN={} -days 30",
            authority.name()
        ));
        authority
    }

    /// Of each another one: a client looks for the issuer by name.
    fn name(&self) -> String {
        self.directory.path().file_name().unwrap().to_string_lossy().into_owned()
    }

    /// The certificate to trust.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// Issues a certificate for `name` from and to these times, in the form of `date -u +%Y%m%d%H%M%SZ`.
    pub(crate) fn issue(&self, name: &str, (from, to): (&str, &str)) -> Issued {
        let file = format!("{name}-{from}-{to}");
        let subject = format!("-subj /CN={name} -addext subjectAltName=DNS:{name}");
        self.openssl(&format!("req -new {NEW_KEY} -keyout {file}.key -out {file}.csr {subject}"));
        self.openssl(&format!(
            "ca -batch -config ca.cnf -cert ca.pem -keyfile ca.key -in {file}.csr -out {file}.pem -notext \
             -startdate {from} -enddate {to}"
        ));
        let at = |ending: &str| self.file(&format!("{file}.{ending}"));
        Issued { certificate: at("pem"), key: at("key") }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn openssl(&self, arguments: &str) {
        let directory: &Path = self.directory.path();
        let mut openssl = Command::new("openssl");
        openssl.args(arguments.split_whitespace()).current_dir(directory).stdin(Stdio::null());
        let output = openssl.output().expect("openssl is installed: tools/setup --tests");
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
