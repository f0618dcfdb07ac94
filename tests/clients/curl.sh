#!/bin/sh
# curl, as people try an endpoint: curl.sh; wants OPENAI_BASE_URL, ANTHROPIC_BASE_URL and CURL_CA_BUNDLE.
set -eu

chat() {
    curl --silent --show-error --no-buffer --compressed --output /dev/null \
        "$OPENAI_BASE_URL/chat/completions" \
        --header "Authorization: Bearer ${OPENAI_API_KEY:-none}" --header 'Content-Type: application/json' "$@"
}

message() {
    curl --silent --show-error --no-buffer --compressed --output /dev/null \
        "$ANTHROPIC_BASE_URL/v1/messages" \
        --header "x-api-key: ${ANTHROPIC_API_KEY:-none}" --header 'anthropic-version: 2023-06-01' \
        --header 'Content-Type: application/json' "$@"
}

ask='{"model":"gpt-5","messages":[{"role":"user","content":"hello"}]}'
stream='{"model":"gpt-5-mini","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hello"}]}'
claude='{"model":"claude-sonnet-5","max_tokens":100,"messages":[{"role":"user","content":"hello"}]}'
claude_stream='{"model":"claude-sonnet-5","stream":true,"max_tokens":100,"messages":[{"role":"user","content":"hello"}]}'

chat --data "$ask"
message --data "$claude"
for encoding in identity gzip br zstd deflate; do
    chat --data "$ask" --header "x-mock: {\"encoding\":\"$encoding\"}"
    chat --data "$stream" --header "x-mock: {\"encoding\":\"$encoding\",\"tokens\":30,\"interval_us\":1000}"
    message --data "$claude_stream" --header "x-mock: {\"encoding\":\"$encoding\",\"tokens\":30,\"interval_us\":1000}"
done
chat --data "$ask" --header 'x-mock: {"status":429,"retry_after":1}'
message --data "$claude" --header 'x-mock: {"status":529}'

# Two transfers over one connection, and a request that asks before it sends (Expect: 100-continue).
curl --silent --show-error --http1.1 --output /dev/null --output /dev/null \
    --data "$ask" "$OPENAI_BASE_URL/chat/completions" "$OPENAI_BASE_URL/chat/completions"
head -c 1048576 /dev/zero | tr '\0' 'x' |
    { printf '{"model":"gpt-5","messages":[{"role":"user","content":"'; cat; printf '"}]}'; } |
    chat --header 'Expect: 100-continue' --data-binary @-

# Streams that a client gives up, or that break off.
chat --data "$stream" --header 'x-mock: {"tokens":1000,"interval_us":10000}' --max-time 0.5 || [ $? -eq 28 ]
for end in close close-notify reset; do
    chat --data "$stream" --header "x-mock: {\"tokens\":20,\"end\":\"$end\"}" || [ $? -ne 0 ]
done
echo done
