#!/usr/bin/env python3
"""The Google Gen AI SDK: gemini_client.py [SCENARIO[=COUNT]…]; wants MOCK_URL."""

import asyncio
import os

import httpx
from google import genai
from google.genai import errors as failures
from google.genai import types

from scenario import CLOCK, WEATHER, chosen, prompt, refused

URL = os.environ["MOCK_URL"]
MODEL = "gemini-3-flash"
TOOLS = [
    types.Tool(function_declarations=[
        types.FunctionDeclaration(name=name, parameters_json_schema={"type": "object", "properties": {}})
        for name in ("weather", "clock")
    ])
]


def connect(url=URL, **options):
    return genai.Client(api_key="none", http_options=types.HttpOptions(base_url=url, **options))


client = connect()


def plain():
    answer = client.models.generate_content(
        model=MODEL, contents=prompt(tokens=12, cached_tokens=512),
        config=types.GenerateContentConfig(
            system_instruction="You are brief.", temperature=0.2, max_output_tokens=100, top_k=20
        ),
    )
    assert answer.text and answer.usage_metadata.cached_content_token_count == 512
    answer = client.models.generate_content(model=MODEL, contents=prompt(tokens=4, finish_reason="MAX_TOKENS"))
    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS


def stream(**directive):
    directive = {"tokens": 40, "interval_us": 2000, "ttft_us": 20000, **directive}
    pieces = client.models.generate_content_stream(model=MODEL, contents=prompt(**directive))
    assert [piece.usage_metadata for piece in pieces][-1].prompt_token_count


def thinking():
    config = types.GenerateContentConfig(
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_level="low")
    )
    text = prompt(thinking=10, reasoning_tokens=300, tokens=10, output_tokens=310)
    answer = client.models.generate_content(model=MODEL, contents=text, config=config)
    assert answer.usage_metadata.thoughts_token_count == 300
    stream(thinking=10, reasoning_tokens=300, output_tokens=340)


def tools(streamed=False):
    """A round: the model asks for two tools, the results go back, the model answers."""
    contents = [types.UserContent(prompt("What about the weather?", tool_calls=[WEATHER, CLOCK], tokens=3))]
    config = types.GenerateContentConfig(
        tools=TOOLS, automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True)
    )
    if streamed:
        parts = []
        for piece in client.models.generate_content_stream(model=MODEL, contents=contents, config=config):
            parts += piece.candidates[0].content.parts
    else:
        answer = client.models.generate_content(model=MODEL, contents=contents, config=config)
        parts = answer.candidates[0].content.parts
    calls = [part.function_call for part in parts if part.function_call]
    assert [call.name for call in calls] == ["weather", "clock"] and calls[0].args == WEATHER["arguments"]
    contents.append(types.ModelContent([part for part in parts if part.text or part.function_call]))
    results = [types.Part.from_function_response(name=call.name, response={"result": "sunny"}) for call in calls]
    contents.append(types.UserContent(results))
    assert client.models.generate_content(model=MODEL, contents=contents, config=config).text


def stream_tools():
    tools(streamed=True)


def chat():
    """The SDK keeps the history; nothing of it is on the wire but the messages."""
    session = client.chats.create(model=MODEL)
    session.send_message(prompt(tokens=5))
    for _ in session.send_message_stream(prompt(tokens=5)):
        pass


def embeddings():
    answer = client.models.embed_content(model="gemini-embedding-001", contents=["one", "two"])
    assert len(answer.embeddings) == 2
    client.models.embed_content(
        model="gemini-embedding-001", contents="one", config=types.EmbedContentConfig(output_dimensionality=64)
    )


def errors():
    for status in (400, 403, 429, 500, 503):
        text = prompt(status=status)
        refused(lambda: client.models.generate_content(model=MODEL, contents=text), failures.APIError, status)
        refused(lambda: list(client.models.generate_content_stream(model=MODEL, contents=text)), failures.APIError, status)


def error_in_stream():
    try:
        stream(end="error", after=4)
    except failures.APIError:
        pass


def retry():
    """Each attempt is a call of its own."""
    options = types.HttpRetryOptions(attempts=3, initial_delay=0.01, max_delay=0.02, http_status_codes=[429])
    patient = connect(retry_options=options)
    patient.models.generate_content(model=MODEL, contents=prompt(status=429, fail_times=2, tokens=4))


def abort():
    pieces = client.models.generate_content_stream(model=MODEL, contents=prompt(tokens=1000, interval_us=5000))
    for index, _ in enumerate(pieces):
        if index == 10:
            break
    pieces.close()


def timeouts():
    hasty = connect(timeout=400)
    for directive in ({"delay_us": 5000000}, {"tokens": 20, "end": "stall", "after": 8}):
        try:
            for _ in hasty.models.generate_content_stream(model=MODEL, contents=prompt(**directive)):
                pass
            raise AssertionError("no error")
        except httpx.TimeoutException:
            pass


def broken():
    for end in ("close", "close-notify", "reset"):
        try:
            stream(end=end, after=5, tokens=10)
            raise AssertionError("no error")
        except httpx.HTTPError:
            pass


def unreachable():
    nowhere = connect("https://localhost:1")
    try:
        nowhere.models.generate_content(model=MODEL, contents="hello")
        raise AssertionError("no error")
    except httpx.ConnectError:
        pass


async def in_asyncio():
    await client.aio.models.generate_content(model=MODEL, contents=prompt(tokens=12))

    async def stream(number):
        pieces = await client.aio.models.generate_content_stream(
            model=f"{MODEL}-{number}", contents=prompt(tokens=20 + number, interval_us=1000)
        )
        async for piece in pieces:
            last = piece
        assert last.usage_metadata.candidates_token_count == 20 + number

    await asyncio.gather(*(stream(number) for number in range(20)))
    await client.aio.aclose()


def asynchronous():
    asyncio.run(in_asyncio())


SCENARIOS = {
    f.__name__: f
    for f in (
        plain, stream, thinking, tools, stream_tools, chat, embeddings, errors, error_in_stream, retry, abort, timeouts,
        broken, unreachable, asynchronous,
    )
}

if __name__ == "__main__":
    for scenario, count in chosen(SCENARIOS, ["plain", "stream", "tools"]):
        for _ in range(count):
            scenario()
    print("done")
