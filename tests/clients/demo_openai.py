#!/usr/bin/env python3
"""A stream, a tool-call round and an error with the OpenAI SDK."""

import json

import openai

from scenario import WEATHER, prompt

client = openai.OpenAI(max_retries=0)
tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]

print("openai: a stream", flush=True)
question = prompt(
    "Why is the sea salty?", ttft_us=380000, tokens=90, interval_us=14000, input_tokens=1850, cached_tokens=1536
)
chunks = client.chat.completions.create(
    model="gpt-5", messages=[{"role": "user", "content": question}], stream=True,
    stream_options={"include_usage": True},
)
for chunk in chunks:
    pass

print("openai: a question that needs a tool", flush=True)
question = prompt("What is the weather in Köln?", tool_calls=[WEATHER], tokens=12, interval_us=30000, input_tokens=412)
messages = [{"role": "user", "content": question}]
answer = client.chat.completions.create(model="gpt-5", messages=messages, tools=tools).choices[0].message
messages.append(answer.model_dump(exclude_none=True))
for call in answer.tool_calls:
    city = json.loads(call.function.arguments)["city"]
    messages.append({"role": "tool", "tool_call_id": call.id, "content": f"{city}: 21 degrees, dry"})
client.chat.completions.create(model="gpt-5", messages=messages, tools=tools)

print("openai: a call over the rate limit", flush=True)
try:
    question = prompt(status=429, retry_after=20, delay_us=60000)
    client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": question}])
except openai.RateLimitError:
    pass
