use std::{error::Error, fmt, sync::Arc};

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use palisade_core::{BoxError, ErrorKind, Fault, find_cause};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

#[cfg(feature = "platform-verifier")]
use rustls::crypto::CryptoProvider;
#[cfg(feature = "platform-verifier")]
use rustls_platform_verifier::Verifier;

use crate::{InvalidClient, connect::Connector, transport::HttpVersions};

/// Whom a client trusts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    /// Certificates beside those that are trusted anyway, in PEM.
    pub(crate) trusted: Vec<Vec<u8>>,
    /// Whether the platform says who is trusted, and not Mozilla.
    #[cfg(feature = "platform-verifier")]
    pub(crate) platform: bool,
}

impl Tls {
    pub(crate) fn secure(
        &self,
        connector: Connector,
        versions: HttpVersions,
    ) -> Result<HttpsConnector<Connector>, InvalidClient> {
        let builder = HttpsConnectorBuilder::new().with_tls_config(self.config()?).https_or_http();
        Ok(match versions {
            HttpVersions::Negotiated => builder.enable_all_versions().wrap_connector(connector),
            HttpVersions::Http1 => builder.enable_http1().wrap_connector(connector),
            HttpVersions::Http2 => builder.enable_http2().wrap_connector(connector),
        })
    }

    fn config(&self) -> Result<ClientConfig, InvalidClient> {
        // The provider is named here, so that none is installed for the whole process.
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(InvalidClient::certificate)?;
        let trusted = self.trusted()?;
        #[cfg(feature = "platform-verifier")]
        if self.platform {
            let verifier = platform(trusted, provider)?;
            let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
            return Ok(config.with_no_client_auth());
        }
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for certificate in trusted {
            roots.add(certificate).map_err(InvalidClient::certificate)?;
        }
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }

    /// The certificates that were given.
    fn trusted(&self) -> Result<Vec<CertificateDer<'static>>, InvalidClient> {
        let mut trusted = Vec::new();
        for pem in &self.trusted {
            let before = trusted.len();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                trusted.push(certificate.map_err(InvalidClient::certificate)?);
            }
            if trusted.len() == before {
                return Err(InvalidClient::certificate("there is none in what was given"));
            }
        }
        Ok(trusted)
    }
}

/// Says what to do about a certificate that is not trusted, and which handshakes would fail again.
pub(crate) fn explain(error: BoxError) -> BoxError {
    let untrusted = match find_cause(&*error) {
        Some(tls) if is_permanent(tls) => matches!(tls, rustls::Error::InvalidCertificate(_)),
        _ => return error,
    };
    let error = if untrusted { Untrusted { cause: error }.into() } else { error };
    Fault::new(ErrorKind::Tls, error).unsent().permanent().into()
}

/// Whether both sides agree on nothing, or one of them on no certificate. What is garbled or cut
/// off may have been so on its way.
fn is_permanent(error: &rustls::Error) -> bool {
    use rustls::{AlertDescription as Alert, Error};

    match error {
        Error::InvalidCertificate(_)
        | Error::NoCertificatesPresented
        | Error::PeerIncompatible(_)
        | Error::UnsupportedNameType
        | Error::NoApplicationProtocol => true,
        // RFC 8446, section 6.2.
        Error::AlertReceived(alert) => matches!(
            alert,
            Alert::HandshakeFailure
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::ProtocolVersion
                | Alert::InsufficientSecurity
                | Alert::MissingExtension
                | Alert::UnsupportedExtension
                | Alert::UnrecognisedName
                | Alert::CertificateRequired
                | Alert::NoApplicationProtocol
        ),
        _ => false,
    }
}

#[derive(Debug)]
struct Untrusted {
    cause: BoxError,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the server's certificate is not trusted: check the host, or trust who has signed it by `trust_pem`",
        )
    }
}

impl Error for Untrusted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}

#[cfg(all(feature = "platform-verifier", not(target_os = "android")))]
fn platform(
    trusted: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Verifier, InvalidClient> {
    Verifier::new_with_extra_roots(trusted, provider).map_err(InvalidClient::certificate)
}

#[cfg(all(feature = "platform-verifier", target_os = "android"))]
fn platform(
    trusted: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Verifier, InvalidClient> {
    if !trusted.is_empty() {
        let text = "the platform's verifier takes no others here: install them there";
        return Err(InvalidClient::certificate(text));
    }
    Verifier::new(provider).map_err(InvalidClient::certificate)
}
