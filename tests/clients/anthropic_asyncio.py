#!/usr/bin/env python3
"""The Anthropic SDK with asyncio: anthropic_asyncio.py [SCENARIO[=COUNT]…]"""

import asyncio

import anthropic

from scenario import chosen, prompt

MODEL = "claude-sonnet-5"


def user(text):
    return [{"role": "user", "content": text}]


async def one_stream(client, model, headers=None, **directive):
    text = prompt(**directive)
    async with client.messages.stream(
        model=model, max_tokens=9000, messages=user(text), extra_headers=headers
    ) as events:
        message = await events.get_final_message()
    assert message.usage.output_tokens == directive["tokens"]


async def plain(client):
    await client.messages.create(model=MODEL, max_tokens=100, messages=user(prompt(tokens=12)))


async def stream(client):
    await one_stream(client, MODEL, tokens=40, interval_us=2000, ttft_us=20000)


async def concurrent(client, headers=None):
    """50 streams at once, each of its own model and length."""
    await asyncio.gather(*(
        one_stream(client, f"claude-task-{n}", headers, tokens=30 + n, interval_us=1000 + 20 * n) for n in range(50)
    ))


async def concurrent_close(client):
    await concurrent(client, {"Connection": "close"})


SCENARIOS = {f.__name__: f for f in (plain, stream, concurrent, concurrent_close)}


async def main():
    async with anthropic.AsyncAnthropic(max_retries=0) as client:
        for scenario, count in chosen(SCENARIOS, ["plain", "stream"]):
            for _ in range(count):
                await scenario(client)
    print("done")


if __name__ == "__main__":
    asyncio.run(main())
