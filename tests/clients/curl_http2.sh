#!/bin/sh
# curl over HTTP/2; wants OPENAI_BASE_URL, ANTHROPIC_BASE_URL and CURL_CA_BUNDLE.
set -eu

call() {
    version=$1
    shift
    curl "$version" --silent --show-error --no-buffer --compressed --output /dev/null \
        --header "Authorization: Bearer ${OPENAI_API_KEY:-none}" --header 'Content-Type: application/json' "$@"
}

chat=$OPENAI_BASE_URL/chat/completions
messages=$ANTHROPIC_BASE_URL/v1/messages
ask='{"model":"gpt-5","messages":[{"role":"user","content":"hello"}]}'
stream='{"model":"gpt-5-mini","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hello"}]}'
claude_stream='{"model":"claude-sonnet-5","stream":true,"max_tokens":100,"messages":[{"role":"user","content":"hello"}]}'

for version in --http2 --http2-prior-knowledge; do
    call $version --data "$ask" "$chat"
    for encoding in identity gzip br zstd deflate; do
        call $version --data "$stream" --header "x-mock: {\"encoding\":\"$encoding\",\"tokens\":30,\"interval_us\":1000}" "$chat"
    done
    call $version --data "$claude_stream" --header 'anthropic-version: 2023-06-01' "$messages"
    call $version --data "$ask" --header 'x-mock: {"status":429,"retry_after":1}' "$chat"
    # Frames of 7 bytes, and a request of many frames.
    call $version --data "$stream" --header 'x-mock: {"tokens":30,"split":7}' "$chat"
    head -c 1048576 /dev/zero | tr '\0' 'x' |
        { printf '{"model":"gpt-5","messages":[{"role":"user","content":"'; cat; printf '"}]}'; } |
        call $version --data-binary @- "$chat"
done

# Two transfers over one connection.
call --http2 --data "$ask" --output /dev/null "$chat" "$chat"

# Streams that a client gives up, or that break off.
call --http2 --data "$stream" --header 'x-mock: {"tokens":1000,"interval_us":10000}' --max-time 0.5 "$chat" || [ $? -eq 28 ]
for end in close reset; do
    call --http2 --data "$stream" --header "x-mock: {\"tokens\":20,\"end\":\"$end\"}" "$chat" || [ $? -ne 0 ]
done
echo done
