//! Whom a client trusts, with an authority of the test's own.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::Version;
use palisade_client::{Client, ClientBuilder, HttpVersions};
use palisade_core::{ErrorKind, causes};
use palisade_metrics::Registry;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::{io::AsyncReadExt, net::TcpListener};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};
use tower::ServiceExt;

use crate::servers::{Reply, Seen, Server, get, hasty, redirect, reply, text};

/// What a server for `localhost` has, and the certificate of who has signed its own.
fn certified() -> (ServerConfig, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();

    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    (config, pem(authority.der()))
}

/// A server for `localhost`, and the certificate of who has signed its own.
async fn secured() -> (String, String) {
    secured_by(|_| reply(200, "secured")).await
}

async fn secured_by(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> (String, String) {
    let (config, authority) = certified();
    let answer = Arc::new(answer);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::new(listener.local_addr().unwrap());
    let url = format!("https://localhost:{}/", server.addr.port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                let server = server.clone();
                tokio::spawn(server.serve(stream, Arc::clone(&answer)));
            }
        }
    });
    (url, authority)
}

fn pem(der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for three in der.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - three.len()));
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) as usize & 63;
            let filled = place <= three.len();
            text.push(if filled { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    writeln!(text, "\n-----END CERTIFICATE-----").unwrap();
    text
}

fn builder() -> ClientBuilder {
    Client::builder().no_proxy().no_retry()
}

async fn check_trusted(client: ClientBuilder, url: &str, version: Version) {
    let response = client.build().unwrap().oneshot(get(url)).await.unwrap();
    assert_eq!(response.version(), version);
    assert_eq!(text(response).await.unwrap(), "secured");
}

async fn check_untrusted(client: ClientBuilder, url: &str) {
    let error = client.build().unwrap().oneshot(get(url)).await.unwrap_err();
    assert_eq!(ErrorKind::of(&*error), ErrorKind::Tls, "{error:?}");
    let told: Vec<_> = causes(&*error).map(ToString::to_string).collect();
    let says = "the server's certificate is not trusted: check the host, or trust who has signed it by `trust_pem`";
    assert!(told.iter().any(|text| text == says), "{told:?}");
    assert!(told.iter().any(|text| text.starts_with("invalid peer certificate")), "{told:?}");
}

#[tokio::test]
async fn https_goes_by_the_certificates_that_are_trusted() {
    let (url, authority) = secured().await;
    check_untrusted(builder(), &url).await;
    for (versions, version) in
        [(HttpVersions::Negotiated, Version::HTTP_2), (HttpVersions::Http1, Version::HTTP_11)]
    {
        let client = builder().trust_pem(&*authority).http_versions(versions);
        check_trusted(client, &url, version).await;
    }
    // The certificate is for another name.
    let other = url.replace("localhost", "127.0.0.1");
    check_untrusted(builder().trust_pem(&*authority), &other).await;
}

/// How many handshakes a call takes with a server that has this, or hangs up.
async fn handshakes(client: ClientBuilder, config: Option<ServerConfig>) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    let acceptor = config.map(|config| TlsAcceptor::from(Arc::new(config)));
    let begun = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&begun);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            match &acceptor {
                Some(acceptor) => drop(acceptor.accept(stream).await),
                // What was sent is read, so that it is no reset.
                None => drop(stream.read(&mut [0; 4096]).await),
            }
        }
    });
    let client = hasty(client).build().unwrap();
    let error = client.get(url).send().await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    begun.load(Ordering::Relaxed)
}

#[tokio::test]
async fn what_would_fail_again_is_not_tried_again() {
    // Nobody trusts who has signed it, and if somebody does, it is for another name.
    let (mut config, authority) = certified();
    assert_eq!(handshakes(builder(), Some(config.clone())).await, 1);
    assert_eq!(handshakes(builder().trust_pem(&*authority), Some(config.clone())).await, 1);
    // The server speaks nothing that is known here, and says so.
    config.alpn_protocols = vec![b"other".to_vec()];
    assert_eq!(handshakes(builder(), Some(config)).await, 1);
    assert_eq!(handshakes(builder(), None).await, 3);
}

#[tokio::test]
async fn what_leads_to_plain_http_is_refused_if_it_is_to_be() {
    let plain = Server::start(|_| reply(200, "plain")).await;
    let to = plain.url("/");
    let secured = secured_by(move |seen| match seen.uri.path() {
        "/away" => redirect(302, &to),
        _ => reply(200, "secured"),
    });
    let (url, authority) = secured.await;
    let registry = Registry::new();
    let client = builder().trust_pem(authority).https_only().metrics(&registry);
    let client = hasty(client).build().unwrap();
    // The same authority, so the same breaker.
    let other = url.replace("https", "http");
    for url in [&*format!("{url}away"), &plain.url("/"), &other].repeat(20) {
        let error = client.get(url.to_owned()).send().await.unwrap_err();
        assert_eq!(error.service_kind(), Some(ErrorKind::Tls), "{error:?}");
        let told: Vec<_> = causes(&error).map(ToString::to_string).collect();
        assert!(told.iter().any(|text| text.contains("leave out `https_only`")), "{told:?}");
    }
    // None is made again, and where a redirect leads is one of its own.
    assert_eq!(registry.snapshot().attempts.count(), 60 + 20);
    assert!(plain.seen().is_empty());
    let answer = client.get(url).send().await.unwrap().text().await.unwrap();
    assert_eq!(answer, "secured");
}

#[cfg(feature = "platform-verifier")]
#[tokio::test]
async fn what_the_platform_trusts_counts_beside_what_is_given() {
    let (url, authority) = secured().await;
    check_trusted(builder().trust_platform().trust_pem(&*authority), &url, Version::HTTP_2).await;
    let (_, other) = secured().await;
    check_untrusted(builder().trust_platform().trust_pem(&*other), &url).await;
}

/// What the platform trusts is said by the environment, so this test runs itself with
/// another one.
#[cfg(all(feature = "platform-verifier", target_os = "linux"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_the_platform_trusts_is_enough() {
    use std::{env, fs, process::Command};

    const URL: &str = "PALISADE_TEST_URL";
    const NAME: &str = "tls::what_the_platform_trusts_is_enough";
    if let Ok(url) = env::var(URL) {
        check_trusted(builder().trust_platform(), &url, Version::HTTP_2).await;
        // Whom Mozilla trusts is of no matter then, and the other way round.
        check_untrusted(builder(), &url).await;
        return;
    }
    let (url, authority) = secured().await;
    let file = env::temp_dir().join(format!("palisade-{}.pem", std::process::id()));
    fs::write(&file, authority).unwrap();
    let mut itself = Command::new(env::current_exe().unwrap());
    itself.args(["--exact", NAME]).env(URL, url).env("SSL_CERT_FILE", &file);
    let output = itself.env_remove("SSL_CERT_DIR").output().unwrap();
    fs::remove_file(file).unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}
