use std::sync::Arc;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{InvalidClient, connect::Connector, transport::HttpVersions};

/// Whom a client trusts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    /// Certificates beside those of Mozilla, in PEM.
    pub(crate) trusted: Vec<Vec<u8>>,
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
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        for pem in &self.trusted {
            let mut any = false;
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(InvalidClient::certificate)?;
                roots.add(certificate).map_err(InvalidClient::certificate)?;
                any = true;
            }
            if !any {
                return Err(InvalidClient::certificate("there is none in what was given"));
            }
        }
        // The provider is named here, so that none is installed for the whole process.
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(InvalidClient::certificate)?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    }
}
