#!/bin/sh
# What `cargo xtask demo` traces: programs that know nothing of it. Wants the environment of the other clients, and
# the Python to use as its argument.
set -eu
here=$(dirname "$0")

echo "curl: a plain call"
curl --silent --show-error "$OPENAI_BASE_URL/chat/completions" --header "Authorization: Bearer $OPENAI_API_KEY" \
    --header 'x-mock: {"tokens":9,"interval_us":40000,"input_tokens":24}' --data \
    '{"model":"gpt-5-mini","messages":[{"role":"user","content":"Say hello."}]}' --output /dev/null
"$1" "$here/demo_openai.py"
"$1" "$here/demo_anthropic.py"
echo "curl: a call that fails"
curl --silent --show-error "$ANTHROPIC_BASE_URL/v1/messages" --header "x-api-key: $ANTHROPIC_API_KEY" \
    --header 'x-mock: {"status":529,"delay_us":120000}' --data \
    '{"model":"claude-opus-5","max_tokens":500,"messages":[{"role":"user","content":"Say hello."}]}' --output /dev/null
