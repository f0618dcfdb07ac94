#!/bin/sh
# wget, which Debian links with GnuTLS: wget.sh; wants OPENAI_BASE_URL, ANTHROPIC_BASE_URL and CURL_CA_BUNDLE.
set -eu

post() {
    wget --quiet --ca-certificate="$CURL_CA_BUNDLE" --tries=1 --output-document=/dev/null \
        --header='Content-Type: application/json' "$@"
}

chat() {
    post --header="Authorization: Bearer ${OPENAI_API_KEY:-none}" "$@" "$OPENAI_BASE_URL/chat/completions"
}

message() {
    post --header="x-api-key: ${ANTHROPIC_API_KEY:-none}" --header='anthropic-version: 2023-06-01' "$@" \
        "$ANTHROPIC_BASE_URL/v1/messages"
}

ask='{"model":"gpt-5","messages":[{"role":"user","content":"hello"}]}'
stream='{"model":"gpt-5-mini","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hello"}]}'
claude='{"model":"claude-sonnet-5","max_tokens":100,"messages":[{"role":"user","content":"hello"}]}'
claude_stream='{"model":"claude-sonnet-5","stream":true,"max_tokens":100,"messages":[{"role":"user","content":"hello"}]}'

chat --post-data="$ask"
message --post-data="$claude"
for framing in chunked close; do
    chat --post-data="$stream" --header="x-mock: {\"framing\":\"$framing\",\"tokens\":30,\"interval_us\":1000}"
    message --post-data="$claude_stream" --header="x-mock: {\"framing\":\"$framing\",\"tokens\":30,\"interval_us\":1000}"
done
chat --post-data="$ask" --header='x-mock: {"encoding":"gzip"}' --compression=auto
chat --post-data="$ask" --header='x-mock: {"status":429,"retry_after":1}' || [ $? -eq 8 ]
message --post-data="$claude" --header='x-mock: {"status":529}' || [ $? -eq 8 ]

# Three calls over one connection, then a body of many records.
post --post-data="$ask" "$OPENAI_BASE_URL/chat/completions" "$OPENAI_BASE_URL/chat/completions" \
    "$OPENAI_BASE_URL/chat/completions"
body=$(mktemp)
trap 'rm -f "$body"' EXIT
head -c 1048576 /dev/zero | tr '\0' 'x' |
    { printf '{"model":"gpt-5","messages":[{"role":"user","content":"'; cat; printf '"}]}'; } >"$body"
chat --post-file="$body"
echo done
