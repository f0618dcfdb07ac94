//! reqwest over rustls, with the provider that the feature names: `client [http2] [tls12]`; wants OPENAI_BASE_URL and
//! SSL_CERT_FILE. With `http2`, every stream goes over one connection.

use std::{env, error::Error, fs};

use futures_util::future::try_join_all;
use reqwest::{Certificate, Client, tls::Version};
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

async fn call(client: &Client, stream: bool, directive: Value) -> Outcome {
    let content = format!("mock: {directive} hello");
    let mut body = json!({ "model": "gpt-5", "stream": stream, "messages": [{ "role": "user", "content": content }] });
    if stream {
        body["stream_options"] = json!({ "include_usage": true });
    }
    let url = format!("{}/chat/completions", env::var("OPENAI_BASE_URL")?);
    client.post(url).bearer_auth(env::var("OPENAI_API_KEY")?).json(&body).send().await?.bytes().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome {
    #[cfg(feature = "ring")]
    let provider = rustls::crypto::ring::default_provider();
    #[cfg(not(feature = "ring"))]
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.install_default().map_err(|_| "another provider stands already")?;
    let authority = Certificate::from_pem(&fs::read(env::var("SSL_CERT_FILE")?)?)?;
    let wants = |option: &str| env::args().any(|argument| argument == option);
    let mut builder = Client::builder().tls_certs_only([authority]);
    if !wants("http2") {
        builder = builder.http1_only();
    }
    if wants("tls12") {
        builder = builder.tls_version_max(Version::TLS_1_2);
    }
    let client = builder.build()?;
    call(&client, false, json!({ "tokens": 5 })).await?;
    call(&client, true, json!({ "tokens": 30, "interval_us": 1000, "ttft_us": 10000 })).await?;
    call(&client, true, json!({ "tokens": 30, "encoding": "br" })).await?;
    call(&client, false, json!({ "status": 429 })).await?;
    try_join_all((0..20).map(|n| call(&client, true, json!({ "tokens": 20 + n, "interval_us": 500 })))).await?;
    println!("done");
    Ok(())
}
