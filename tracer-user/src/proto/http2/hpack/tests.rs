use super::*;

/// Fields that a decoder gives for a block, as `name: value`; what is unknown as `?`.
fn fields(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, Invalid> {
    let mut told = Vec::new();
    decoder.decode(block, |Field { name, value, .. }| {
        let value = value.map_or("?".to_owned(), |value| String::from_utf8_lossy(&value).into_owned());
        told.push(format!("{}: {value}", name.as_deref().unwrap_or("?")));
    })?;
    Ok(told)
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

const CAP: usize = 64 << 10;

/// RFC 7541 appendix C.3 and C.4: three requests on one connection, plain and Huffman-coded.
#[test]
fn requests_of_the_standard() {
    let plain = [
        "828684410f7777772e6578616d706c652e636f6d",
        "828684be58086e6f2d6361636865",
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ];
    let coded = [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ];
    for blocks in [plain, coded] {
        let mut decoder = Decoder::new(CAP);
        let told = blocks.map(|block| fields(&mut decoder, &bytes(block)).unwrap());
        assert_eq!(told[0], [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"]);
        assert_eq!(told[1][3..], [":authority: www.example.com", "cache-control: no-cache"]);
        assert_eq!(
            told[2],
            [
                ":method: GET",
                ":scheme: https",
                ":path: /index.html",
                ":authority: www.example.com",
                "custom-key: custom-value"
            ]
        );
    }
}

/// RFC 7541 appendix C.6: a table of 256 bytes, so that entries go.
#[test]
fn responses_of_the_standard_with_eviction() {
    let mut decoder = Decoder::new(CAP);
    fields(&mut decoder, &bytes("3fe101")).unwrap();
    let first =
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3";
    let told = fields(&mut decoder, &bytes(first)).unwrap();
    assert_eq!(
        told,
        [
            ":status: 302",
            "cache-control: private",
            "date: Mon, 21 Oct 2013 20:13:21 GMT",
            "location: https://www.example.com"
        ]
    );
    let told = fields(&mut decoder, &bytes("4883640effc1c0bf")).unwrap();
    assert_eq!(told[0], ":status: 307");
    // The first block's status went to make room for this one's.
    assert_eq!(fields(&mut decoder, &bytes("c2")), Err(Invalid));
}

#[test]
fn a_joined_decoder_knows_what_it_saw() {
    let mut decoder = Decoder::new(CAP);
    decoder.lose();
    // Index 62 is unknown, static ones and literals are not; the literal with name 63 is unknown and shifts the rest.
    let told = fields(&mut decoder, &bytes("82 be 400161 0162 be bf 7f000163 be bf")).unwrap();
    assert_eq!(told, [":method: GET", "?: ?", "a: b", "a: b", "?: ?", "?: ?", "?: ?", "?: ?"]);
    // What comes now is known; what was known before the unknown entry is not counted on.
    let told = fields(&mut decoder, &bytes("400164 0165 be bf c0")).unwrap();
    assert_eq!(told, ["d: e", "d: e", "?: ?", "?: ?"]);
    // An emptied table lacks nothing.
    assert_eq!(fields(&mut decoder, &bytes("20 be")), Err(Invalid));
}

#[test]
fn a_table_over_our_cap_is_unknown_where_it_is_old() {
    let mut decoder = Decoder::new(100);
    // The encoder's table has 16,384 bytes; two entries of 34 fit under the cap.
    let told = fields(&mut decoder, &bytes("3fe17f 400161 0162 400163 0164 400165 0166 be bf c0")).unwrap();
    assert_eq!(told[3..], ["e: f", "c: d", "?: ?"]);
}

#[test]
fn credentials_end_here_and_keep_their_size() {
    let mut decoder = Decoder::new(CAP);
    // A table of 96 bytes holds `authorization: 0123456789` (55 bytes) and one entry of 41 more, not of 42.
    let secret = "3f41 400d 617574686f72697a6174696f6e 0a30313233343536373839";
    assert_eq!(fields(&mut decoder, &bytes(secret)).unwrap(), ["authorization: "]);
    assert_eq!(fields(&mut decoder, &bytes("400161 08 3030303030303030 bf")).unwrap()[1], "authorization: ");
    assert_eq!(fields(&mut decoder, &bytes("c0")), Err(Invalid));
    let told = fields(&mut Decoder::new(CAP), &bytes("04 0f 2f613f6b65793d78 26 623d31303030")).unwrap();
    assert_eq!(told, [":path: /a?b=1000"]);
}

#[test]
fn nonsense_is_refused() {
    for block in ["80", "bf", "40", "4001", "7fffffffffffff", "0081", "000385ffffffff", "ff8080808001", "c0"] {
        assert_eq!(fields(&mut Decoder::new(CAP), &bytes(block)), Err(Invalid), "{block}");
    }
}

#[test]
fn huffman_code_of_every_letter() {
    let all: Vec<u8> = (0..=255).collect();
    let (mut coded, mut text) = (Vec::new(), Vec::new());
    huffman::encode(&all, &mut coded);
    huffman::decode(&coded, &mut text).unwrap();
    assert_eq!(text, all);
    for letter in all {
        let (mut coded, mut text) = (Vec::new(), Vec::new());
        huffman::encode(&[letter], &mut coded);
        assert_eq!(coded.len(), huffman::coded_bits(&[letter]).div_ceil(8));
        huffman::decode(&coded, &mut text).unwrap();
        assert_eq!(text, [letter]);
    }
    // The end-of-string symbol, padding of a whole byte, and padding of zeros.
    for wrong in [&[0xff, 0xff, 0xff, 0xff][..], &[0x1f, 0xff], &[0x18]] {
        assert_eq!(huffman::decode(wrong, &mut Vec::new()), Err(Invalid), "{wrong:x?}");
    }
}

/// The published stories (github.com/http2jp/hpack-test-case), if `LLMTAP_HPACK_STORIES` names their folder: every
/// encoder's blocks give the fields that it encoded, and whoever joins late guesses none.
#[test]
fn published_stories() {
    let Some(folder) = std::env::var_os("LLMTAP_HPACK_STORIES") else {
        println!("skipped: LLMTAP_HPACK_STORIES is not set");
        return;
    };
    let (mut stories, mut blocks, mut known) = (0, 0, 0);
    for encoder in std::fs::read_dir(folder).unwrap() {
        let encoder = encoder.unwrap().path();
        if encoder.ends_with("raw-data") || !encoder.is_dir() {
            continue;
        }
        for story in std::fs::read_dir(encoder).unwrap() {
            let story = story.unwrap().path();
            if story.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = std::fs::read_to_string(&story).unwrap();
            let text: serde_json::Value = serde_json::from_str(&text).unwrap();
            stories += 1;
            let (mut decoder, mut joined) = (Decoder::new(CAP), Decoder::new(CAP));
            joined.lose();
            for (number, case) in text["cases"].as_array().unwrap().iter().enumerate() {
                let block = bytes(case["wire"].as_str().unwrap());
                let expected: Vec<String> = case["headers"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .flat_map(|field| field.as_object().unwrap())
                    .map(|(name, value)| {
                        let value = without_credentials(name, value.as_str().unwrap().as_bytes().to_vec());
                        format!("{name}: {}", String::from_utf8_lossy(&value))
                    })
                    .collect();
                assert_eq!(fields(&mut decoder, &block).unwrap(), expected, "{} {number}", story.display());
                blocks += 1;
                if number > 0 {
                    for (field, expected) in fields(&mut joined, &block).unwrap().iter().zip(&expected) {
                        assert!(field == "?: ?" || field.starts_with("?: ") || field == expected, "{field} {expected}");
                        known += usize::from(field == expected);
                    }
                }
            }
        }
    }
    println!("{stories} stories, {blocks} blocks; {known} fields known to who joined at the second block");
    assert!(stories > 0);
}
