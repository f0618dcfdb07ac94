//! A Rust program with OpenSSL by `native-tls`, as many are built for distributions: wants OPENAI_BASE_URL and
//! SSL_CERT_FILE.

use std::{env, error::Error, io::Read as _, thread};

use serde_json::{Value, json};
use ureq::{
    Agent,
    tls::{RootCerts, TlsConfig, TlsProvider},
};

type Done = Result<(), Box<dyn Error + Send + Sync>>;

fn agent() -> Agent {
    let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(RootCerts::PlatformVerifier).build();
    Agent::config_builder().tls_config(tls).http_status_as_error(false).build().new_agent()
}

fn ask(agent: &Agent, stream: bool, text: &str, directive: &Value) -> Done {
    let mut body = json!({ "model": "gpt-5", "messages": [{ "role": "user", "content": text }] });
    if stream {
        body["stream"] = true.into();
        body["stream_options"] = json!({ "include_usage": true });
    }
    let request = agent
        .post(format!("{}/chat/completions", env::var("OPENAI_BASE_URL")?))
        .header("authorization", format!("Bearer {}", env::var("OPENAI_API_KEY")?))
        .header("x-mock", directive.to_string());
    let mut reader = request.send_json(&body)?.into_body().into_reader();
    let mut piece = [0; 500];
    while reader.read(&mut piece)? > 0 {}
    Ok(())
}

fn main() -> Done {
    let slow = json!({ "tokens": 30, "interval_us": 1000 });
    let one = agent();
    for _ in 0..3 {
        ask(&one, false, "hello", &json!({}))?;
        ask(&one, true, "hello", &slow)?;
    }
    ask(&one, false, "hello", &json!({ "status": 429 }))?;
    ask(&one, false, &"x".repeat(1_000_000), &json!({}))?;
    let threads: Vec<_> = (0..20)
        .map(|_| {
            let slow = slow.clone();
            thread::spawn(move || ask(&agent(), true, "hello", &slow))
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    println!("done");
    Ok(())
}
