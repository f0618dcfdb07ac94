use std::borrow::Cow;

use super::*;

fn redactor() -> Redactor {
    Redactor::new(&Options { iban: true, phone: true, ..Options::default() }).unwrap()
}

/// Letters and digits that look drawn by lot and are the same on every run.
fn noise(length: usize, alphabet: &str) -> String {
    let alphabet: Vec<char> = alphabet.chars().collect();
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        alphabet[(state % alphabet.len() as u64) as usize]
    };
    (0..length).map(|_| draw()).collect()
}

const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const HEX: &str = "0123456789abcdef";

/// One secret of each rule, whole.
fn secrets() -> Vec<(&'static str, String)> {
    let body = |length| noise(length, ALNUM);
    let hex = |length| noise(length, HEX);
    let jwt = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ";
    vec![
        ("anthropic_key", format!("sk-ant-api03-{}-{}AA", body(40), body(40))),
        ("openai_key", format!("sk-proj-{}_{}", body(60), body(60))),
        ("openai_key", format!("sk-{}T3BlbkFJ{}", body(20), body(20))),
        ("openai_key", format!("sk-{}", hex(32))),
        ("openrouter_key", format!("sk-or-v1-{}", hex(64))),
        ("google_key", format!("AIza{}", body(35))),
        ("google_oauth", format!("ya29.{}", body(80))),
        ("aws_key_id", format!("AKIA{}", noise(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))),
        ("aws_bedrock_key", format!("ABSK{}==", body(120))),
        ("github_token", format!("ghp_{}", body(36))),
        ("github_token", format!("github_pat_{}_{}", body(22), body(59))),
        ("gitlab_token", format!("glpat-{}", body(20))),
        ("slack_token", format!("xoxb-1234567890-1234567890-{}", body(24))),
        ("slack_webhook", format!("hooks.slack.com/services/T{}/B{}/{}", body(8), body(8), body(24))),
        ("stripe_key", format!("sk_live_{}", body(24))),
        ("stripe_key", format!("rk_test_{}", body(24))),
        ("stripe_key", format!("whsec_{}", body(32))),
        ("huggingface_token", format!("hf_{}", body(34))),
        ("groq_key", format!("gsk_{}", body(52))),
        ("xai_key", format!("xai-{}", body(80))),
        ("npm_token", format!("npm_{}", body(36))),
        ("databricks_token", format!("dapi{}", hex(32))),
        ("jwt", jwt.to_owned()),
        ("private_key", pem("\n")),
        ("private_key", pem("\\n")),
    ]
}

fn pem(line_end: &str) -> String {
    let lines = [&*noise(64, ALNUM), &*noise(64, ALNUM), "abc+/w=="].join(line_end);
    format!("-----BEGIN RSA PRIVATE KEY-----{line_end}{lines}{line_end}-----END RSA PRIVATE KEY-----")
}

#[test]
fn each_secret_is_found_wherever_it_stands() {
    let redactor = redactor();
    for (rule, secret) in secrets() {
        let surroundings = [
            ("", ""),
            ("the key is ", ", keep it"),
            ("{\"key\":\"", "\"}"),
            ("{\\\"text\\\":\\\"line\\n", "\\nnext\\\"}"),
            ("https://host/path?key=", "&more=1"),
            ("Schlüssel „", "“ – ü"),
            ("KEY=", "\nOTHER=1"),
            ("see <", ">"),
        ];
        for (before, behind) in surroundings {
            let text = format!("{before}{secret}{behind}");
            assert_eq!(redactor.redact(&text), format!("{before}[REDACTED:{rule}]{behind}"), "in {text}");
        }
    }
}

#[test]
fn of_credentials_with_a_name_only_the_secret_goes() {
    let redactor = redactor();
    let password = "4aQ9zP0tT1xR8";
    for (text, clean) in [
        ("Authorization: Bearer 4aQ9zP0tT1xR8yW2", "Authorization: Bearer [REDACTED:bearer_token]"),
        ("-H 'authorization: Basic dXNlcjpodW50ZXIy'", "-H 'authorization: Basic [REDACTED:basic_credentials]'"),
        ("postgres://app:pw@db:5432/x", "postgres://app:[REDACTED:url_password]@db:5432/x"),
        ("redis://:s3cr3t@cache/0", "redis://:[REDACTED:url_password]@cache/0"),
        (
            "Server=db;User Id=sa;Password=Wörter;Encrypt=yes",
            "Server=db;User Id=sa;Password=[REDACTED:connection_password];Encrypt=yes",
        ),
        ("password: \"4aQ9zP0tT1xR8\"", "password: \"[REDACTED:assigned_secret]\""),
        ("AWS_SECRET_ACCESS_KEY=4aQ9zP0tT1xR8", "AWS_SECRET_ACCESS_KEY=[REDACTED:assigned_secret]"),
        ("{\\\"api_key\\\": \\\"4aQ9zP0tT1xR8\\\"}", "{\\\"api_key\\\": \\\"[REDACTED:assigned_secret]\\\"}"),
        ("AccountName=a;AccountKey=%;", "AccountName=a;AccountKey=[REDACTED:azure_key];"),
    ] {
        let text = text.replace('%', &format!("{}==", noise(86, ALNUM)));
        let redacted = redactor.redact(&text);
        assert_eq!(redacted, clean);
        assert!(!redacted.contains(password));
        assert_eq!(redactor.redact(clean), clean, "what was redacted is not redacted again");
    }
}

#[test]
fn people_s_data_is_found_by_form_and_check_digit() {
    let redactor = redactor();
    for (text, clean) in [
        ("write to ada.lovelace+x@mail.example.co.uk.", "write to [REDACTED:email]."),
        ("<ünal@example.org>", "<ü[REDACTED:email]>"),
        ("card 4111 1111 1111 1111, 12/29", "card [REDACTED:card_number], 12/29"),
        ("\"5500005555555559\"", "\"[REDACTED:card_number]\""),
        ("3782-822463-10005", "[REDACTED:card_number]"),
        ("6011-0009-9013-9424", "[REDACTED:card_number]"),
        ("7,4012888888881881,3", "7,[REDACTED:card_number],3"),
        ("DE89370400440532013000", "[REDACTED:iban]"),
        ("GB29 NWBK 6016 1331 9268 19.", "[REDACTED:iban]."),
        ("call +49 (30) 1234-5678 now", "call [REDACTED:phone] now"),
    ] {
        assert_eq!(redactor.redact(text), clean);
    }
}

/// What looks like a secret and is none.
#[test]
fn ordinary_texts_stay_as_they_are() {
    let redactor = redactor();
    let base64 = noise(20_000, &format!("{ALNUM}+/"));
    let image = format!("data:image/png;base64,iVBORw0KGgo{base64}==");
    let texts = [
        &*image,
        // Hashes, ids, numbers.
        "d41d8cd98f00b204e9800998ecf8427e",
        "commit 99a67c5d2a3f4b5c6d7e8f90123456789abcdef0",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "\"integrity\": \"sha512-4aQ9zP0tT1xR84aQ9zP0tT1xR84aQ9zP0tT1xR84aQ9zP0tT1xR84aQ9zP0tT1xR84aQ9zP0tT1xR8==\"",
        "550e8400-e29b-41d4-a716-446655440000 12345678-1234-4111-8111-111111111111",
        "1700000000000 1763750437123456789 4111111111111112 0.4111111111111111 4111.1111 1111111111111111",
        "41111111111111110 order-4111111111111111 4111111111111111-2 x4111111111111111",
        "resp_68af4030592c81938ec0a5fbab4a3e9f05438e46b5f69a3b chatcmpl-BWJ1 toolu_01A09q90qw90lq917835lq9",
        "12 4111 1111 1111 1111 1234",
        // Code.
        "let password = prompt_password(\"password: \")?; password: String, api_key: Option<&str>,",
        "api_key = os.environ[\"OPENAI_API_KEY\"]; api_key=os.getenv('KEY_2026_01'); token = tokens[12345678]",
        "password=${DB_PASSWORD_12} secret: {{ .Values.secret12 }} PASSWORD=******** password: <your-password>",
        "postgres://${USER}:${PASS}@host/db http://host:8080/a@b https://example.org/@handle?x=1:2",
        "Bearer authentication-is-required; Basic understanding of Basic authentication",
        "git clone git@github.com:acme/tool.git; logo@2x.png; a @ b; @decorator.name; npm i left-pad@1.3.0",
        "task-antenna-configuration-of-the-house risk-assessmentofthewholehouse mask-image-with-many-words-here",
        "for (i=0;i<1000000000000000;i++) total += 4242424242424241;",
        "eyJust a word. eyJhbGciOiJIUzI1NiJ9 alone",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEF\n-----END PUBLIC KEY-----",
        "DE00370400440532013000 US12345678901234567890 1+2345678901",
        "max_tokens: 4096, completion_tokens=1234567890, secret_santa: nobody",
        "",
    ];
    for text in texts {
        let shown: String = text.chars().take(120).collect();
        assert!(matches!(redactor.redact(text), Cow::Borrowed(_)), "{shown}: {:?}", redactor.find(text));
    }
}

#[test]
fn a_key_without_its_end_is_taken_out_as_far_as_it_goes() {
    let key = pem("\n");
    let cut = &key[..key.len() - 50];
    assert_eq!(redactor().redact(&format!("see: {cut}")), "see: [REDACTED:private_key]");
}

#[test]
fn a_secret_of_any_length_goes_as_a_whole() {
    let long = noise(5000, ALNUM);
    let redactor = redactor();
    assert_eq!(redactor.redact(&format!("Bearer {long}.")), "Bearer [REDACTED:bearer_token]");
    assert_eq!(redactor.redact(&format!("api_key={long}, x")), "api_key=[REDACTED:assigned_secret], x");
}

/// What goes through JSON, a URL or a header is written otherwise, and is the same for whoever reads it.
#[test]
fn a_secret_is_found_in_the_forms_of_json_urls_and_headers() {
    use base64::{
        Engine as _,
        prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
    };
    let redactor = redactor();
    let key = format!("sk-proj-{}", noise(40, ALNUM));
    let rest = &key[1..];
    for (text, clean) in [
        (format!("{{\"key\": \"\\u0073{rest}\"}}"), "{\"key\": \"[REDACTED:openai_key]\"}"),
        (format!("\\\\u0073\\u006B{}, ü", &key[2..]), "[REDACTED:openai_key], ü"),
        (format!("über {}\\u002D{}", &key[..7], &key[8..]), "über [REDACTED:openai_key]"),
        (format!("https://h/?k=%73{rest}&a=%20b"), "https://h/?k=[REDACTED:openai_key]&a=%20b"),
        ("mail=ada%40example.org&x".to_owned(), "mail=[REDACTED:email]&x"),
        ("ada\\u0040example.org".to_owned(), "[REDACTED:email]"),
        (
            "https:\\/\\/hooks.slack.com\\/services\\/T012345678\\/B012345678\\/abcdefghijklmnopqrstuvwx".to_owned(),
            "https:\\/\\/[REDACTED:slack_webhook]",
        ),
        (format!("x={}; y", BASE64_STANDARD.encode(format!("my key: {key}."))), "x=[REDACTED:openai_key]; y"),
        (BASE64_STANDARD_NO_PAD.encode(&key), "[REDACTED:openai_key]"),
        (format!("/v1/x/{}/y", BASE64_STANDARD_NO_PAD.encode(&key)), "/v1/x/[REDACTED:openai_key]/y"),
        (format!("<{}>", BASE64_URL_SAFE_NO_PAD.encode(format!("~~~???{key}"))), "<[REDACTED:openai_key]>"),
        ("YWRhQGV4YW1wbGUub3Jn".to_owned(), "[REDACTED:email]"),
    ] {
        assert_eq!(redactor.redact(&text), clean, "{text}");
    }
    // Escapes and base64 of anything else stay.
    for text in [
        "50%25 of \\u0041ll, C:\\users\\u1234, 100% \\/ \\",
        "VGhpcyBpcyBhbiBvcmRpbmFyeSB0ZXh0IHdpdGhvdXQgYW55IHNlY3JldC4=",
        "%",
        "\\u00",
        "%7",
    ] {
        assert!(matches!(redactor.redact(text), Cow::Borrowed(_)), "{text}: {:?}", redactor.find(text));
    }
}

/// Pieces show less than the whole: why texts are put together first.
#[test]
fn a_secret_in_two_pieces_is_found_in_the_whole() {
    let redactor = redactor();
    let secret = format!("sk-ant-{}", noise(30, ALNUM));
    let (one, other) = secret.split_at(15);
    assert_eq!(redactor.redact(one), one);
    assert_eq!(redactor.redact(&[one, other].concat()), "[REDACTED:anthropic_key]");
}

#[test]
fn overlapping_finds_are_one() {
    let options = Options {
        patterns: vec![
            Pattern { name: "host".to_owned(), pattern: r"[a-z]+\.example\.org/\w+".to_owned() },
            Pattern { name: "path".to_owned(), pattern: r"/secret/\d+".to_owned() },
        ],
        ..Options::default()
    };
    let redactor = Redactor::new(&options).unwrap();
    assert_eq!(redactor.redact("ada@mail.example.org/x/secret/42!"), "[REDACTED:email][REDACTED:path]!");
    assert_eq!(redactor.redact("go to mail.example.org/x/secret/42!"), "go to [REDACTED:host][REDACTED:path]!");
}

#[test]
fn own_patterns_are_checked_when_they_are_read() {
    let with = |name: &str, pattern: &str| {
        let pattern = Pattern { name: name.to_owned(), pattern: pattern.to_owned() };
        Redactor::new(&Options { patterns: vec![pattern], ..Options::default() })
    };
    assert_eq!(with("customer", r"KD-(\d{4})").unwrap().redact("Kunde KD-4711"), "Kunde KD-[REDACTED:customer]");
    assert_eq!(with("name", r"\bÄnne\b").unwrap().redact("für Änne ü"), "für [REDACTED:name] ü");
    for (name, pattern, complaint) in [
        ("Customer", "x", "names no rule"),
        ("a", "(", "unclosed group"),
        ("a", "x*", "empty text"),
        ("a", r"(?:\w{1000}){1000}", "needs more than"),
        ("a", &"x".repeat(MAX_PATTERN_BYTES + 1), "longer than"),
        ("a", r"(a)\1", "backreferences"),
    ] {
        let error = with(name, pattern).unwrap_err().to_string();
        assert!(error.contains(complaint), "{error}");
    }
    let error = Redactor::new(&Options { except: vec!["jwtt".to_owned()], ..Options::default() }).unwrap_err();
    assert_eq!(error.to_string(), "there is no built-in rule \"jwtt\"");
}

#[test]
fn rules_can_be_left_out() {
    let options = Options { except: vec!["jwt".to_owned()], email: false, ..Options::default() };
    let redactor = Redactor::new(&options).unwrap();
    let text = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.sig ada@example.org";
    assert_eq!(redactor.redact(text), text);
    let none = Options { secrets: false, email: false, card: false, ..Options::default() };
    assert_eq!(Redactor::new(&none).unwrap().redact("sk-ant-01234567890123456789"), "sk-ant-01234567890123456789");
}

#[test]
fn debug_output_and_errors_of_a_redactor_hold_no_text() {
    let redactor = redactor();
    redactor.redact("sk-ant-01234567890123456789");
    assert!(!format!("{redactor:?}").contains("01234567890123456789"));
}
