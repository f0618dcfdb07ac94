#!/usr/bin/env python3
"""A plain call and a thoughtful stream with the Anthropic SDK."""

import anthropic

from scenario import prompt

client = anthropic.Anthropic(max_retries=0)

print("anthropic: a plain call", flush=True)
client.messages.create(
    model="claude-haiku-4-5", max_tokens=300,
    messages=[{"role": "user", "content": prompt("A haiku on pipes.", tokens=20, interval_us=15000, input_tokens=31)}],
)

print("anthropic: a stream that thinks first", flush=True)
question = prompt(
    "Plan my garden.", ttft_us=520000, thinking=40, tokens=80, interval_us=9000, input_tokens=5200,
    cached_tokens=4096, cache_write_tokens=900,
)
with client.messages.stream(
    model="claude-sonnet-5", max_tokens=4000, messages=[{"role": "user", "content": question}]
) as events:
    events.get_final_message()
