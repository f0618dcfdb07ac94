#!/usr/bin/env python3
"""The Ollama library: ollama_client.py [SCENARIO[=COUNT]…]; wants OLLAMA_HOST."""

import asyncio

import ollama

from scenario import CLOCK, WEATHER, chosen, prompt, refused

client = ollama.Client()
# An error without a name is told apart from other traffic on such a path by the port alone.
named = ollama.Client(headers={"Host": "localhost:11434"})
MODEL = "qwen3:8b"
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("weather", "clock")
]


def user(text):
    return [{"role": "user", "content": text}]


def plain():
    answer = client.chat(model=MODEL, messages=user(prompt(tokens=12)), options={"temperature": 0.3, "seed": 7})
    assert answer.message.content and answer.eval_count == 12
    assert client.generate(model=MODEL, prompt=prompt(tokens=7)).response


def stream(**directive):
    directive = {"tokens": 40, "interval_us": 2000, "ttft_us": 20000, **directive}
    assert [piece.eval_count for piece in client.chat(model=MODEL, messages=user(prompt(**directive)), stream=True)][-1]
    assert list(client.generate(model=MODEL, prompt=prompt(**directive), stream=True))[-1].done


def thinking():
    stream(thinking=9)


def tools():
    messages = user(prompt("What about the weather?", tool_calls=[WEATHER, CLOCK]))
    answer = client.chat(model=MODEL, messages=messages, tools=TOOLS)
    messages.append(answer.message)
    for call in answer.message.tool_calls:
        messages.append({"role": "tool", "content": "sunny", "tool_name": call.function.name})
    client.chat(model=MODEL, messages=messages, tools=TOOLS)
    text = prompt(tool_calls=[WEATHER, CLOCK], tokens=3)
    assert list(client.chat(model=MODEL, messages=user(text), tools=TOOLS, stream=True))


def embeddings():
    assert len(client.embed(model="nomic-embed-text", input=[prompt(input_tokens=30), "two"]).embeddings) == 2


def errors():
    for status in (400, 404, 503):
        text = prompt(status=status)
        refused(lambda: named.chat(model=MODEL, messages=user(text)), ollama.ResponseError, status)
        refused(lambda: list(named.chat(model=MODEL, messages=user(text), stream=True)), ollama.ResponseError, status)
    try:
        list(named.chat(model=MODEL, messages=user(prompt(tokens=10, end="error", after=4)), stream=True))
        raise AssertionError("no error")
    except ollama.ResponseError:
        pass


def abort():
    pieces = client.chat(model=MODEL, messages=user(prompt(tokens=1000, interval_us=5000)), stream=True)
    for index, _ in enumerate(pieces):
        if index == 10:
            break
    pieces.close()


async def in_asyncio():
    client = ollama.AsyncClient()
    await client.chat(model=MODEL, messages=user(prompt(tokens=12)))
    async for _ in await client.chat(model=MODEL, messages=user(prompt(tokens=12)), stream=True):
        pass


def asynchronous():
    asyncio.run(in_asyncio())


SCENARIOS = {f.__name__: f for f in (plain, stream, thinking, tools, embeddings, errors, abort, asynchronous)}

if __name__ == "__main__":
    for scenario, count in chosen(SCENARIOS, ["plain", "stream", "tools"]):
        for _ in range(count):
            scenario()
    print("done")
