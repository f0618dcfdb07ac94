#!/usr/bin/env python3
"""The Anthropic SDK, synchronous: anthropic_sync.py [SCENARIO[=COUNT]…]"""

import anthropic

from scenario import CLOCK, WEATHER, chosen, prompt

client = anthropic.Anthropic(max_retries=0)
MODEL = "claude-sonnet-5"
TOOLS = [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in ("weather", "clock")]


def user(text):
    return [{"role": "user", "content": text}]


def plain():
    client.messages.create(
        model=MODEL, max_tokens=100, system="You are brief.",
        messages=user(prompt(tokens=12, cached_tokens=2000, cache_write_tokens=300)),
    )


def stream(**directive):
    directive = {"tokens": 40, "interval_us": 2000, "ttft_us": 20000, **directive}
    with client.messages.stream(model=MODEL, max_tokens=9000, messages=user(prompt(**directive))) as events:
        for _ in events.text_stream:
            pass
        assert events.get_final_message().stop_reason == "end_turn"


def thinking():
    stream(thinking=15, reasoning_tokens=400)


def tools():
    """A round: the model asks for two tools, the results go back, the model answers."""
    messages = user(prompt("What about the weather?", tool_calls=[WEATHER, CLOCK], tokens=3))
    answer = client.messages.create(model=MODEL, max_tokens=100, messages=messages, tools=TOOLS)
    messages.append({"role": "assistant", "content": [block.model_dump() for block in answer.content]})
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "sunny"}
        for block in answer.content
        if block.type == "tool_use"
    ]
    assert len(results) == 2
    messages.append({"role": "user", "content": results})
    answer = client.messages.create(model=MODEL, max_tokens=100, messages=messages, tools=TOOLS)
    assert answer.stop_reason == "end_turn"


def stream_tools():
    text = prompt(tool_calls=[WEATHER, CLOCK], fragments=6, interval_us=1000, tokens=4)
    with client.messages.stream(model=MODEL, max_tokens=100, messages=user(text), tools=TOOLS) as events:
        message = events.get_final_message()
    assert message.content[1].input == WEATHER["arguments"]


def errors():
    for status in (400, 401, 403, 404, 413, 429, 500, 529):
        for streamed in (False, True):
            try:
                client.messages.create(
                    model=MODEL, max_tokens=100, messages=user(prompt(status=status)), stream=streamed
                )
                raise AssertionError("no error")
            except anthropic.APIStatusError as error:
                assert error.status_code == status


def error_in_stream():
    try:
        stream(tokens=10, end="error", after=4)
        raise AssertionError("no error")
    except anthropic.APIError:
        pass


def retry():
    client.with_options(max_retries=3).messages.create(
        model=MODEL, max_tokens=100,
        messages=user(prompt(status=529, fail_times=2, retry_after=0, tokens=2)),
    )


def abort():
    events = client.messages.create(
        model=MODEL, max_tokens=100, messages=user(prompt(tokens=1000, interval_us=5000)), stream=True
    )
    for index, _ in enumerate(events):
        if index == 10:
            break
    events.close()


def encodings():
    for encoding in ("gzip", "deflate"):
        stream(encoding=encoding, tokens=30)
        client.messages.create(model=MODEL, max_tokens=100, messages=user(prompt(encoding=encoding)))


def big():
    """A prompt of 1 MiB."""
    client.messages.create(
        model=MODEL, max_tokens=100, messages=user(prompt("x" * (1 << 20), tokens=5, input_tokens=262144))
    )


def long():
    """A stream of 10,000 tokens."""
    stream(tokens=10000, interval_us=0)


def others():
    """No model calls."""
    client.messages.count_tokens(model=MODEL, messages=user("How much is this?"))


SCENARIOS = {
    f.__name__: f
    for f in (
        plain, stream, thinking, tools, stream_tools, errors, error_in_stream, retry, abort, encodings, big, long,
        others,
    )
}

if __name__ == "__main__":
    for scenario, count in chosen(SCENARIOS, ["plain", "stream", "tools"]):
        for _ in range(count):
            scenario()
    print("done")
