#!/usr/bin/env python3
"""The OpenAI SDK beyond chat: Responses, embeddings, completions, synchronous and not, and what goes wrong on the way:
openai_apis.py [SCENARIO[=COUNT]…]"""

import asyncio
import json
import os
import ssl

import certifi
import httpx2
import openai

from scenario import CLOCK, WEATHER, chosen, prompt, refused

client = openai.OpenAI(max_retries=0)
TOOLS = [
    {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}, "strict": False}
    for name in ("weather", "clock")
]
TEXT = {"tokens": 40, "interval_us": 2000, "ttft_us": 20000}


def responses():
    answer = client.responses.create(
        model="gpt-5", input=prompt(tokens=12, cached_tokens=1024, reasoning_tokens=64), instructions="Be brief."
    )
    assert answer.output_text and answer.usage.input_tokens_details.cached_tokens == 1024
    answer = client.responses.create(
        model="gpt-5", input=prompt(tokens=3, finish_reason="max_output_tokens"), max_output_tokens=16
    )
    assert answer.status == "incomplete"


def responses_stream(**directive):
    directive = {**TEXT, **directive}
    last = None
    for event in client.responses.create(model="gpt-5-mini", input=prompt(**directive), stream=True):
        last = event
    assert last.response.usage.output_tokens


def responses_helper():
    """The SDK's own stream object puts the answer together."""
    with client.responses.stream(model="gpt-5-mini", input=prompt(thinking=5, **TEXT)) as stream:
        assert stream.get_final_response().output_text


def responses_tools(stream=False):
    """A round: the model asks for two tools, the results go back, the model answers."""
    messages = [{"role": "user", "content": prompt("What about the weather?", tool_calls=[WEATHER, CLOCK], tokens=3)}]
    answer = client.responses.create(model="gpt-5", input=messages, tools=TOOLS, stream=stream)
    if stream:
        answer = [event for event in answer][-1].response
    messages += [item.model_dump(exclude_none=True) for item in answer.output]
    calls = [item for item in answer.output if item.type == "function_call"]
    assert json.loads(calls[0].arguments) == WEATHER["arguments"]
    messages += [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls]
    answer = client.responses.create(model="gpt-5", input=messages, tools=TOOLS)
    assert answer.output_text


def responses_stream_tools():
    responses_tools(stream=True)


def embeddings():
    """The SDK asks for base64 unless told otherwise."""
    for encoding in (openai.omit, "float"):
        answer = client.embeddings.create(
            model="text-embedding-3-small", input=[prompt(input_tokens=40), "two", "three"], encoding_format=encoding
        )
        assert len(answer.data) == 3 and len(answer.data[0].embedding) == 8
    answer = client.embeddings.create(model="text-embedding-3-large", input="one", dimensions=256)
    assert len(answer.data[0].embedding) == 256


def completions():
    answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt=prompt(tokens=7), max_tokens=20)
    assert answer.usage.completion_tokens == 7
    chunks = client.completions.create(
        model="gpt-3.5-turbo-instruct", prompt=prompt(**TEXT), stream=True, stream_options={"include_usage": True}
    )
    assert [chunk.usage for chunk in chunks][-1].completion_tokens == 40


def errors():
    calls = {
        "responses": lambda text: client.responses.create(model="gpt-5", input=text),
        "streamed": lambda text: client.responses.create(model="gpt-5", input=text, stream=True),
        "embeddings": lambda text: client.embeddings.create(model="text-embedding-3-small", input=text),
        "completions": lambda text: client.completions.create(model="gpt-3.5-turbo-instruct", prompt=text),
    }
    for status in (400, 429, 500):
        for call in calls.values():
            refused(lambda: call(prompt(status=status)), openai.APIStatusError, status)
    events = client.responses.create(model="gpt-5", input=prompt(tokens=9, end="error", after=4), stream=True)
    assert [event.type for event in events][-1] == "response.failed"


def retry():
    """Each attempt is a call of its own."""
    patient = client.with_options(max_retries=3)
    patient.responses.create(model="gpt-5", input=prompt(status=429, fail_times=2, retry_after=0, tokens=4))


def abort():
    """Leaves in the middle of a stream, by breaking out of the loop and by the context's end."""
    with client.responses.create(model="gpt-5", input=prompt(tokens=1000, interval_us=5000), stream=True) as events:
        for index, _ in enumerate(events):
            if index == 20:
                break


def timeouts():
    """No answer in time, and a stream that falls silent."""
    hasty = client.with_options(timeout=0.4)
    try:
        hasty.responses.create(model="gpt-5", input=prompt(delay_us=5000000))
        raise AssertionError("no error")
    except openai.APITimeoutError:
        pass
    try:
        for _ in hasty.responses.create(model="gpt-5", input=prompt(tokens=20, end="stall", after=8), stream=True):
            pass
        raise AssertionError("no error")
    except (openai.APITimeoutError, httpx2.ReadTimeout):
        pass


def broken():
    for end in ("close", "close-notify", "reset"):
        try:
            responses_stream(end=end, after=5, tokens=10)
            raise AssertionError("no error")
        except (openai.APIError, httpx2.HTTPError):
            pass


def unreachable():
    """No connection, and a server that is not trusted: nothing was said to any model."""
    for url in ("https://localhost:1/v1", os.environ["OPENAI_BASE_URL"]):
        try:
            with httpx2.Client(verify=ssl.create_default_context(cafile=certifi.where())) as http:
                distrustful = openai.OpenAI(base_url=url, max_retries=0, http_client=http)
                distrustful.responses.create(model="gpt-5", input="hello")
            raise AssertionError("no error")
        except openai.APIConnectionError:
            pass


async def in_asyncio():
    async with openai.AsyncOpenAI(max_retries=0) as client:
        await client.responses.create(model="gpt-5", input=prompt(tokens=12))
        await client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
        await client.completions.create(model="gpt-3.5-turbo-instruct", prompt=prompt(tokens=3))

        async def stream(number):
            events = await client.responses.create(
                model=f"gpt-5-task-{number}", input=prompt(tokens=20 + number, interval_us=1000), stream=True
            )
            async for event in events:
                last = event
            assert last.response.usage.output_tokens == 20 + number

        await asyncio.gather(*(stream(number) for number in range(20)))
        # Cancelled in the middle of a stream.
        task = asyncio.create_task(
            client.responses.create(model="gpt-5", input=prompt(tokens=5, delay_us=5000000))
        )
        await asyncio.sleep(0.3)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def asynchronous():
    asyncio.run(in_asyncio())


SCENARIOS = {
    f.__name__: f
    for f in (
        responses, responses_stream, responses_helper, responses_tools, responses_stream_tools, embeddings, completions,
        errors, retry, abort, timeouts, broken, unreachable, asynchronous,
    )
}

if __name__ == "__main__":
    for scenario, count in chosen(SCENARIOS, ["responses", "responses_stream", "embeddings", "completions"]):
        for _ in range(count):
            scenario()
    print("done")
