//! A certificate authority that lives as long as the mock, and one server certificate for every name it plays.

use std::sync::Arc;

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// Names that clients may use for the mock, by `/etc/hosts`, `curl --resolve` or plainly.
const NAMES: [&str; 8] = [
    "localhost",
    "127.0.0.1",
    "::1",
    "api.openai.com",
    "api.anthropic.com",
    "mock.openai.azure.com",
    "gateway.example",
    "files.example",
];

/// The authority's certificate in PEM, for `SSL_CERT_FILE` and its like, and the server's side of TLS.
pub struct Identity {
    pub authority_pem: String,
    /// The server's certificate and key in PEM, for servers that are no mock.
    pub server_pem: String,
    pub server: Arc<ServerConfig>,
}

/// Makes a fresh authority and server certificate. Python 3.13 verifies strictly (RFC 5280): the authority states
/// its key usage, the leaf carries the authority key identifier.
/// `http2` offers it by ALPN (RFC 7301).
pub fn generate(http2: bool) -> anyhow::Result<Identity> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "llmtap mock provider authority");
    authority.not_before = date_time_ymd(2020, 1, 1);
    authority.not_after = date_time_ymd(2090, 1, 1);
    let authority_key = KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let authority_pem = authority_certificate.pem();
    let issuer = Issuer::new(authority, authority_key);

    let mut leaf = CertificateParams::new(NAMES.map(String::from).to_vec())?;
    leaf.distinguished_name.push(DnType::CommonName, "llmtap mock provider");
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.not_before = date_time_ymd(2020, 1, 1);
    leaf.not_after = date_time_ymd(2090, 1, 1);
    let leaf_key = KeyPair::generate()?;
    let leaf_certificate = leaf.signed_by(&leaf_key, &issuer)?;

    let server_pem = leaf_certificate.pem() + &leaf_key.serialize_pem();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS versions")?
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf_certificate.der().clone(), authority_certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der())),
        )?;
    server.alpn_protocols = if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    Ok(Identity { authority_pem, server_pem, server: Arc::new(server) })
}
