#!/usr/bin/env python3
"""The Mistral SDK: mistral_client.py [SCENARIO[=COUNT]…]; wants MOCK_URL."""

import asyncio
import json
import os

import httpx2
from mistralai.client import Mistral
from mistralai.client.errors import MistralError

from scenario import CLOCK, WEATHER, chosen, prompt, refused

# Mistral speaks OpenAI's API: its host is what tells it apart.
HOST = {"host": "api.mistral.ai"}
client = Mistral(
    api_key="none", server_url=os.environ["MOCK_URL"], client=httpx2.Client(headers=HOST),
    async_client=httpx2.AsyncClient(headers=HOST),
)
MODEL = "mistral-large-latest"
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("weather", "clock")
]


def user(text):
    return [{"role": "user", "content": text}]


def plain():
    answer = client.chat.complete(model=MODEL, messages=user(prompt(tokens=12)), temperature=0.3, random_seed=7)
    assert answer.choices[0].message.content


def stream(**directive):
    """Usage comes without being asked for."""
    directive = {"tokens": 40, "interval_us": 2000, "ttft_us": 20000, "usage": "always", **directive}
    with client.chat.stream(model=MODEL, messages=user(prompt(**directive))) as events:
        assert [event.data.usage for event in events][-1].completion_tokens


def tools():
    messages = user(prompt("What about the weather?", tool_calls=[WEATHER, CLOCK], tokens=3))
    answer = client.chat.complete(model=MODEL, messages=messages, tools=TOOLS)
    message = answer.choices[0].message
    assert json.loads(message.tool_calls[0].function.arguments) == WEATHER["arguments"]
    messages.append(message)
    for call in message.tool_calls:
        messages.append({"role": "tool", "name": call.function.name, "tool_call_id": call.id, "content": "sunny"})
    client.chat.complete(model=MODEL, messages=messages, tools=TOOLS)
    text = prompt(tool_calls=[WEATHER, CLOCK], fragments=0, usage="always")
    with client.chat.stream(model=MODEL, messages=user(text), tools=TOOLS) as events:
        assert list(events)


def fim():
    """Fill in the middle."""
    client.fim.complete(model="codestral-latest", prompt=prompt(tokens=9), suffix="return x")
    with client.fim.stream(model="codestral-latest", prompt=prompt(tokens=9, usage="always")) as events:
        assert list(events)


def embeddings():
    answer = client.embeddings.create(model="mistral-embed", inputs=[prompt(input_tokens=30, id="emb-1"), "two"])
    assert len(answer.data) == 2


def errors():
    for status in (400, 401, 429, 500):
        refused(lambda: client.chat.complete(model=MODEL, messages=user(prompt(status=status))), MistralError, status)


async def in_asyncio():
    await client.chat.complete_async(model=MODEL, messages=user(prompt(tokens=12)))
    events = await client.chat.stream_async(model=MODEL, messages=user(prompt(tokens=12, usage="always")))
    async for _ in events:
        pass


def asynchronous():
    asyncio.run(in_asyncio())


SCENARIOS = {f.__name__: f for f in (plain, stream, tools, fim, embeddings, errors, asynchronous)}

if __name__ == "__main__":
    for scenario, count in chosen(SCENARIOS, ["plain", "stream", "tools"]):
        for _ in range(count):
            scenario()
    print("done")
