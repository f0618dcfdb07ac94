#!/usr/bin/env python3
"""The Cohere SDK, both versions of the API: cohere_client.py [SCENARIO[=COUNT]…]; wants MOCK_URL."""

import asyncio
import os

import cohere
import httpx
from cohere.core.api_error import ApiError

from scenario import CLOCK, WEATHER, chosen, prompt, refused

URL = os.environ["MOCK_URL"]
client = cohere.ClientV2(api_key="none", base_url=URL)
# An error without any name is told apart from other traffic on such a path by the host alone.
named = cohere.ClientV2(api_key="none", base_url=URL, httpx_client=httpx.Client(headers={"host": "api.cohere.com"}))
MODEL = "command-a-03-2025"
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("weather", "clock")
]
ONCE = {"max_retries": 0}


def user(text):
    return [{"role": "user", "content": text}]


def plain():
    answer = client.chat(model=MODEL, messages=user(prompt(tokens=12)), temperature=0.3, seed=7)
    assert answer.message.content[0].text


def stream(**directive):
    directive = {"tokens": 40, "interval_us": 2000, "ttft_us": 20000, **directive}
    events = list(client.chat_stream(model=MODEL, messages=user(prompt(**directive))))
    assert events[-1].delta.usage.billed_units.output_tokens


def thinking():
    client.chat(model=MODEL, messages=user(prompt(tokens=5, thinking=9)))
    stream(thinking=9)


def tools():
    messages = user(prompt("What about the weather?", tool_calls=[WEATHER, CLOCK]))
    answer = client.chat(model=MODEL, messages=messages, tools=TOOLS)
    assert answer.finish_reason == "TOOL_CALL"
    messages.append({"role": "assistant", "tool_calls": answer.message.tool_calls, "tool_plan": "I will look."})
    for call in answer.message.tool_calls:
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})
    client.chat(model=MODEL, messages=messages, tools=TOOLS)
    text = prompt(tool_calls=[WEATHER, CLOCK], interval_us=1000)
    assert list(client.chat_stream(model=MODEL, messages=user(text), tools=TOOLS))


def version_1():
    older = cohere.Client(api_key="none", base_url=URL)
    answer = older.chat(model=MODEL, message=prompt(tokens=6))
    assert answer.text
    assert list(older.chat_stream(model=MODEL, message=prompt(tokens=12, interval_us=2000)))


def embeddings():
    answer = client.embed(
        model="embed-v4.0", texts=[prompt(input_tokens=30), "two"], input_type="search_document",
        embedding_types=["float"],
    )
    assert len(answer.embeddings.float_) == 2


def errors():
    for status in (400, 401, 429, 500):
        text = prompt(status=status)
        refused(lambda: named.chat(model=MODEL, messages=user(text), request_options=ONCE), ApiError, status)
        refused(
            lambda: list(named.chat_stream(model=MODEL, messages=user(text), request_options=ONCE)), ApiError, status
        )


async def in_asyncio():
    async with cohere.AsyncClientV2(api_key="none", base_url=URL) as client:
        await client.chat(model=MODEL, messages=user(prompt(tokens=12)))
        async for _ in client.chat_stream(model=MODEL, messages=user(prompt(tokens=12))):
            pass


def asynchronous():
    asyncio.run(in_asyncio())


SCENARIOS = {
    f.__name__: f for f in (plain, stream, thinking, tools, version_1, embeddings, errors, asynchronous)
}

if __name__ == "__main__":
    for scenario, count in chosen(SCENARIOS, ["plain", "stream", "tools"]):
        for _ in range(count):
            scenario()
    print("done")
