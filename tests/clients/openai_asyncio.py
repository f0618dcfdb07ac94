#!/usr/bin/env python3
"""The OpenAI SDK with asyncio: openai_asyncio.py [SCENARIO[=COUNT]…]"""

import asyncio

import openai

from scenario import WEATHER, chosen, prompt

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]


def user(text):
    return [{"role": "user", "content": text}]


async def one_stream(client, model, headers=None, **directive):
    chunks = await client.chat.completions.create(
        model=model, messages=user(prompt(**directive)), stream=True, stream_options={"include_usage": True},
        extra_headers=headers,
    )
    usage = None
    async for chunk in chunks:
        usage = chunk.usage or usage
    assert usage.completion_tokens == directive["tokens"], (usage, directive)


async def plain(client):
    await client.chat.completions.create(model="gpt-5", messages=user(prompt(tokens=12)))


async def stream(client):
    await one_stream(client, "gpt-5-mini", tokens=40, interval_us=2000, ttft_us=20000)


async def tools(client):
    messages = user(prompt(tool_calls=[WEATHER]))
    answer = await client.chat.completions.create(model="gpt-5", messages=messages, tools=TOOLS)
    message = answer.choices[0].message
    messages.append(message.model_dump(exclude_none=True))
    messages.append({"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"})
    await client.chat.completions.create(model="gpt-5", messages=messages, tools=TOOLS)


async def concurrent(client, headers=None):
    """50 streams at once, each of its own model and length."""
    await asyncio.gather(*(
        one_stream(client, f"gpt-5-task-{n}", headers, tokens=30 + n, interval_us=1000 + 20 * n) for n in range(50)
    ))


async def concurrent_close(client):
    await concurrent(client, {"Connection": "close"})


async def full_speed(client):
    """50 streams of 500 tokens, as fast as the client reads."""
    await asyncio.gather(*(one_stream(client, f"gpt-5-task-{n}", tokens=500 + n) for n in range(50)))


async def cancel(client):
    """A task is cancelled in the middle of its stream, and the next call works."""
    task = asyncio.create_task(one_stream(client, "gpt-5", tokens=1000, interval_us=10000))
    await asyncio.sleep(0.3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await plain(client)


async def reset(client):
    """The server gives a stream up in the middle."""
    try:
        await one_stream(client, "gpt-5", tokens=40, interval_us=1000, end="reset")
    except Exception:
        pass
    else:
        raise AssertionError("the stream did not break off")
    await plain(client)


SCENARIOS = {f.__name__: f for f in (plain, stream, tools, concurrent, concurrent_close, full_speed, cancel, reset)}


async def main(http_client=None):
    async with openai.AsyncOpenAI(max_retries=0, http_client=http_client) as client:
        for scenario, count in chosen(SCENARIOS, ["plain", "stream", "tools"]):
            for _ in range(count):
                await scenario(client)
    print("done")


if __name__ == "__main__":
    asyncio.run(main())
