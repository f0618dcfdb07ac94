#!/usr/bin/env python3
"""LiteLLM as a library, to three providers: litellm_client.py [SCENARIO[=COUNT]…]; wants MOCK_URL."""

import asyncio
import os

import litellm

from scenario import WEATHER, chosen, prompt

litellm.suppress_debug_info = True
URL = os.environ["MOCK_URL"]
ROUTES = [
    {"model": "openai/gpt-5", "api_base": f"{URL}/v1"},
    {"model": "anthropic/claude-sonnet-5", "api_base": URL},
    {"model": "gemini/gemini-3-flash", "api_base": f"{URL}/v1beta"},
]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]


def ask(route, **directive):
    messages = [{"role": "user", "content": prompt(**directive)}]
    return {**route, "api_key": "none", "messages": messages, "num_retries": 0, "max_tokens": 100}


def plain():
    for route in ROUTES:
        answer = litellm.completion(**ask(route, tokens=12))
        assert answer.usage.completion_tokens == 12, answer


def stream():
    for route in ROUTES:
        chunks = litellm.completion(
            **ask(route, tokens=40, interval_us=2000, ttft_us=20000), stream=True,
            stream_options={"include_usage": True},
        )
        assert [chunk for chunk in chunks]


def tools():
    for route in ROUTES:
        answer = litellm.completion(**ask(route, tool_calls=[WEATHER]), tools=TOOLS)
        assert answer.choices[0].message.tool_calls[0].function.name == "weather"


def errors():
    for route in ROUTES:
        for status in (400, 429, 500):
            try:
                litellm.completion(**ask(route, status=status))
                raise AssertionError("no error")
            except litellm.exceptions.APIError as error:
                assert error.status_code == status
            except (litellm.BadRequestError, litellm.RateLimitError, litellm.InternalServerError):
                pass


async def in_asyncio():
    """Its own transport: aiohttp."""
    for route in ROUTES:
        await litellm.acompletion(**ask(route, tokens=12))
        async for _ in await litellm.acompletion(**ask(route, tokens=30, interval_us=1000), stream=True):
            pass


def asynchronous():
    asyncio.run(in_asyncio())


SCENARIOS = {f.__name__: f for f in (plain, stream, tools, errors, asynchronous)}

if __name__ == "__main__":
    for scenario, count in chosen(SCENARIOS, ["plain", "stream", "tools"]):
        for _ in range(count):
            scenario()
    print("done")
