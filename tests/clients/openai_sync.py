#!/usr/bin/env python3
"""The OpenAI SDK, synchronous: openai_sync.py [SCENARIO[=COUNT]…]"""

import json
import threading

import openai

from scenario import CLOCK, WEATHER, chosen, prompt, wait

client = openai.OpenAI(max_retries=0)
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("weather", "clock")
]


def user(text):
    return [{"role": "user", "content": text}]


def plain():
    answer = client.chat.completions.create(model="gpt-5", messages=user(prompt(tokens=12, cached_tokens=1024)))
    assert answer.choices[0].message.content


def stream(model="gpt-5-mini", **directive):
    directive = {"tokens": 40, "interval_us": 2000, "ttft_us": 20000, **directive}
    chunks = client.chat.completions.create(
        model=model, messages=user(prompt(**directive)), stream=True, stream_options={"include_usage": True}
    )
    usage = None
    for chunk in chunks:
        usage = chunk.usage or usage
    assert usage or directive.get("usage") == "never"


def stream_without_usage():
    chunks = client.chat.completions.create(model="gpt-5-mini", messages=user(prompt(tokens=10)), stream=True)
    assert sum(len(chunk.choices) for chunk in chunks) == 12


def reasoning():
    client.chat.completions.create(
        model="o4-mini", reasoning_effort="high", max_completion_tokens=4000,
        messages=user(prompt(tokens=5, reasoning_tokens=640)),
    )
    stream("o4-mini", thinking=20)


def choices():
    answer = client.chat.completions.create(
        model="gpt-5", n=3, temperature=0.5, messages=user(prompt(tokens=4, finish_reason="length"))
    )
    assert len(answer.choices) == 3


def tools():
    """A round: the model asks for two tools, the results go back, the model answers."""
    messages = user(prompt("What about the weather?", tool_calls=[WEATHER, CLOCK], tokens=3))
    answer = client.chat.completions.create(model="gpt-5", messages=messages, tools=TOOLS)
    message = answer.choices[0].message
    messages.append(message.model_dump(exclude_none=True))
    for call in message.tool_calls:
        result = {"echo": json.loads(call.function.arguments)}
        messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)})
    answer = client.chat.completions.create(model="gpt-5", messages=messages, tools=TOOLS)
    assert answer.choices[0].finish_reason == "stop"


def stream_tools():
    messages = user(prompt(tool_calls=[WEATHER, CLOCK], fragments=6, interval_us=1000))
    options = {"include_usage": True}
    chunks = client.chat.completions.create(
        model="gpt-5", messages=messages, tools=TOOLS, stream=True, stream_options=options
    )
    arguments = {}
    for chunk in chunks:
        for call in chunk.choices[0].delta.tool_calls or [] if chunk.choices else []:
            arguments[call.index] = arguments.get(call.index, "") + call.function.arguments
    assert json.loads(arguments[0]) == WEATHER["arguments"]


def errors():
    for status in (400, 401, 404, 429, 500, 503):
        for streamed in (False, True):
            try:
                client.chat.completions.create(
                    model="gpt-5", messages=user(prompt(status=status)), stream=streamed
                )
                raise AssertionError("no error")
            except openai.APIStatusError as error:
                assert error.status_code == status
    for body in ("html", "empty"):
        try:
            client.chat.completions.create(model="gpt-5", messages=user(prompt(status=502, body=body)))
            raise AssertionError("no error")
        except openai.APIStatusError as error:
            assert error.status_code == 502


def error_in_stream():
    try:
        stream(tokens=10, end="error", after=4)
        raise AssertionError("no error")
    except openai.APIError:
        pass


def retry():
    """The SDK's own repetition: two failures, then an answer."""
    patient = client.with_options(max_retries=3)
    patient.chat.completions.create(
        model="gpt-5", messages=user(prompt(status=503, fail_times=2, retry_after=0, tokens=2))
    )


def attributed():
    """Says for whom it asks, in the ways that the service knows."""
    headers = {"x-tenant-id": "blue", "x-client-request-id": "request-1"}
    client.chat.completions.create(
        model="gpt-5", messages=user(prompt(tokens=2)), user="user-1", metadata={"feature": "search", "session_id": "s-1"},
        extra_headers=headers,
    )
    client.chat.completions.create(model="gpt-5", messages=user(prompt(tokens=2)), safety_identifier="hash-2")


def abort():
    """The client leaves in the middle of a stream, and its connection with it."""
    chunks = client.chat.completions.create(
        model="gpt-5", messages=user(prompt(tokens=1000, interval_us=5000)), stream=True
    )
    for index, _ in enumerate(chunks):
        if index == 10:
            break
    chunks.close()


def broken():
    for end in ("close", "close-notify", "reset"):
        try:
            stream(tokens=10, end=end, after=5)
            raise AssertionError("no error")
        except (openai.APIError, Exception) as error:
            assert not isinstance(error, AssertionError), error


def encodings():
    for encoding in ("gzip", "deflate"):
        stream(encoding=encoding, tokens=30)
        stream(encoding=encoding, tokens=30, split=7, interval_us=0)
        client.chat.completions.create(model="gpt-5", messages=user(prompt(encoding=encoding)))


def framings():
    for directive in (
        {"crlf": True}, {"pings": 2}, {"split": 3}, {"batch": 5}, {"framing": "close"}, {"keep_alive": False},
        {"usage": "never"}, {"details": False},
    ):
        stream(tokens=20, interval_us=0, **directive)
    for framing in ("chunked", "length", "close"):
        client.chat.completions.create(model="gpt-5", messages=user(prompt(framing=framing)))


def big():
    """A prompt of 1 MiB."""
    answer = client.chat.completions.create(
        model="gpt-5", messages=user(prompt("x" * (1 << 20), tokens=5, input_tokens=262144))
    )
    assert answer.usage.prompt_tokens == 262144


def long():
    """A stream of 10,000 tokens."""
    stream(tokens=10000, interval_us=0)


def slow():
    """A stream of about three seconds, which tells when it runs."""
    chunks = client.chat.completions.create(
        model="gpt-5", messages=user(prompt(tokens=300, interval_us=10000)), stream=True
    )
    for index, _ in enumerate(chunks):
        if index == 20:
            print("streaming", flush=True)
    assert index == 301


def threads():
    """20 threads at once over one client; each mixes streams and whole answers."""

    def work(number):
        for _ in range(5):
            stream(f"gpt-5-thread-{number}", tokens=20 + number, interval_us=500)
            client.chat.completions.create(
                model=f"gpt-5-thread-{number}", messages=user(prompt(tokens=1 + number, cached_tokens=number))
            )

    failures = []

    def guarded(number):
        try:
            work(number)
        except Exception as error:  # a thread's failure must fail the program
            failures.append(error)

    workers = [threading.Thread(target=guarded, args=(number,)) for number in range(20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures, failures


def others():
    """No model calls."""
    client.models.list()


SCENARIOS = {
    f.__name__: f
    for f in (
        plain, stream, stream_without_usage, reasoning, choices, tools, stream_tools, errors, error_in_stream, retry,
        attributed, abort, broken, encodings, framings, big, long, slow, threads, others,
        wait,
    )
}

if __name__ == "__main__":
    for scenario, count in chosen(SCENARIOS, ["plain", "stream", "tools"]):
        for _ in range(count):
            scenario()
    print("done")
