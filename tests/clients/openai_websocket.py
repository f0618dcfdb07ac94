#!/usr/bin/env python3
"""The OpenAI SDK's Responses over a WebSocket: openai_websocket.py [SCENARIO[=COUNT]…]"""

import asyncio
import types

import openai

from scenario import CLOCK, WEATHER, chosen, prompt

client = openai.OpenAI(max_retries=0)
asynchronous = openai.AsyncOpenAI(max_retries=0)
loop = asyncio.Runner()
TEXT = {"tokens": 30, "interval_us": 1500, "ttft_us": 10000}
TOOLS = [
    {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}, "strict": False}
    for name in ("weather", "clock")
]


class Connection:
    """One of the SDK's asyncio connections, for a script that does one thing after the other."""

    def __init__(self, opening):
        self.opening = opening
        self.response = types.SimpleNamespace(create=self.create)

    def __enter__(self):
        self.connection = loop.run(self.opening.__aenter__())
        return self

    def __exit__(self, *error):
        loop.run(self.opening.__aexit__(*error))

    def create(self, **request):
        loop.run(self.connection.response.create(**request))

    def __iter__(self):
        events = self.connection.__aiter__()
        while True:
            try:
                yield loop.run(events.__anext__())
            except StopAsyncIteration:
                return


def connect(query=None, compression="deflate"):
    """Compressed as Codex does it; the SDK's own default is not to."""
    options = {"compression": compression}
    return Connection(
        asynchronous.responses.connect(extra_query=query or {}, websocket_connection_options=options, max_retries=0)
    )


def ask(connection, directive, **more):
    """Asks and reads up to the response's end."""
    text = prompt(**directive) if isinstance(directive, dict) else directive
    connection.response.create(model="gpt-5-mini", input=text, **more)
    for event in connection:
        if event.type in ("response.completed", "response.incomplete", "response.failed", "error"):
            return event


def stream():
    with connect() as connection:
        assert ask(connection, TEXT).response.usage.output_tokens


def chain():
    """A conversation that goes on on one connection."""
    with connect() as connection:
        previous = {}
        for turn in range(3):
            done = ask(connection, {**TEXT, "cached_tokens": 64 * turn}, instructions="Be brief.", **previous)
            previous = {"previous_response_id": done.response.id}


def plain_frames():
    with connect(compression=None) as connection:
        ask(connection, {**TEXT, "tokens": 200, "interval_us": 0})


def compressed_anew():
    with connect({"deflate": "no_context"}) as connection:
        ask(connection, TEXT)
        ask(connection, {**TEXT, "thinking": 5})


def split():
    with connect() as connection:
        ask(connection, {**TEXT, "split": 7})
        ask(connection, {**TEXT, "batch": 5, "pings": 3})


def long_prompt():
    with connect() as connection:
        ask(connection, prompt("x" * 300_000, **TEXT))
    with connect(compression=None) as connection:
        ask(connection, prompt("y" * 300_000, **TEXT))


def lanes():
    with connect() as connection:
        for lane in ("one", "two"):
            assert ask(connection, TEXT, stream_id=lane).stream_id == lane


def tools():
    with connect() as connection:
        text = prompt("What about the weather?", tool_calls=[WEATHER, CLOCK], tokens=3)
        done = ask(connection, text, tools=TOOLS)
        calls = [item for item in done.response.output if item.type == "function_call"]
        results = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls]
        connection.response.create(
            model="gpt-5-mini", previous_response_id=done.response.id, input=results, tools=TOOLS
        )
        for event in connection:
            if event.type == "response.completed":
                break


def errors():
    with connect() as connection:
        for status in (400, 429, 500):
            assert ask(connection, {"status": status}).type == "error"
        assert ask(connection, {**TEXT, "end": "error", "after": 5}).type == "response.failed"
        assert ask(connection, TEXT).type == "response.completed"


def abort():
    with connect() as connection:
        connection.response.create(model="gpt-5-mini", input=prompt(**{**TEXT, "tokens": 400}))
        for number, _ in enumerate(connection):
            if number == 15:
                break


def broken():
    for end in ("close", "close-notify"):
        try:
            with connect() as connection:
                ask(connection, {**TEXT, "end": end, "after": 10})
        except Exception:
            pass


def threads():
    """The SDK's synchronous client: one thread writes, another one reads."""
    for _ in range(10):
        manager, connection = open_with_threads()
        assert ask(connection, TEXT).response.usage.output_tokens
        manager.__exit__(None, None, None)


def open_with_threads():
    """Two threads in one SSL object hang some handshakes in a thousand, traced or not: older Pythons have no lock."""
    for left in reversed(range(5)):
        manager = client.responses.connect(max_retries=0)
        try:
            return manager, manager.__enter__()
        except TimeoutError:
            if not left:
                raise


def concurrent(count=20):
    """Connections side by side in one asyncio process."""
    async def one(number):
        async with asynchronous.responses.connect(max_retries=0) as connection:
            for _ in range(2):
                await connection.response.create(model="gpt-5", input=prompt(**{**TEXT, "tokens": 20 + number}))
                async for event in connection:
                    if event.type == "response.completed":
                        break

    async def all_of_them():
        await asyncio.gather(*(one(number) for number in range(count)))

    loop.run(all_of_them())


SCENARIOS = {
    function.__name__: function
    for function in (
        stream, chain, plain_frames, compressed_anew, split, long_prompt, lanes, tools, errors, abort, broken, threads,
        concurrent,
    )
}

for scenario, times in chosen(SCENARIOS, ["stream"]):
    for _ in range(times):
        scenario()
print("done")
