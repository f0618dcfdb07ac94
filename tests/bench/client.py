#!/usr/bin/env python3
"""The client of `cargo xtask bench`: the real OpenAI SDK, told what to do line by line.

Reads commands on stdin and answers each with one JSON line. With `openllmetry` as its argument it is instrumented
inside the process by OpenLLMetry, with a span processor and an exporter that keeps spans in memory."""

import asyncio
import json
import sys
import time

import openai


def prompt(text, **directive):
    return [{"role": "user", "content": f"mock: {json.dumps(directive)} {text}"}]


def instrumented():
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    OpenAIInstrumentor().instrument(tracer_provider=provider)

    def spans():
        provider.force_flush()
        return [
            (span.attributes.get("gen_ai.usage.output_tokens"), span.attributes.get("gen_ai.response.model"))
            for span in exporter.get_finished_spans()
        ]

    return spans


def count(chunks):
    seen, usage = 0, None
    for chunk in chunks:
        seen += 1
        usage = chunk.usage or usage
    return seen, usage


def stream(client, calls, tokens):
    """Streams, one after the other, at full speed; user and system time of this process, all threads."""
    begin, wall = time.process_time_ns(), time.perf_counter_ns()
    chunks = 0
    for _ in range(calls):
        answer = client.chat.completions.create(
            model="gpt-5-mini", stream=True, stream_options={"include_usage": True},
            messages=prompt("Tell me a long story.", tokens=tokens),
        )
        seen, usage = count(answer)
        assert usage.completion_tokens == tokens, usage
        chunks += seen
    return {
        "cpu_ns": time.process_time_ns() - begin, "wall_ns": time.perf_counter_ns() - wall, "chunks": chunks,
    }


def calls(client, number):
    """Short calls, one after the other."""
    wall = time.perf_counter_ns()
    for _ in range(number):
        client.chat.completions.create(model="gpt-5-mini", messages=prompt("Be short.", tokens=20))
    return {"calls": number, "wall_ns": time.perf_counter_ns() - wall}


def large(client, size):
    """One request of `size` bytes."""
    answer = client.chat.completions.create(
        model="gpt-5-mini", messages=prompt("All work and no play. " * (size // 22 + 1), tokens=20)
    )
    return {"tokens": answer.usage.completion_tokens}


async def together(streams, tokens, interval_us):
    async with openai.AsyncOpenAI(max_retries=0) as client:

        async def one(number):
            answer = await client.chat.completions.create(
                model=f"gpt-5-task-{number}", stream=True, stream_options={"include_usage": True},
                messages=prompt("Together.", tokens=tokens, interval_us=interval_us),
            )
            async for _ in answer:
                pass

        await asyncio.gather(*(one(number) for number in range(streams)))
    return {"streams": streams}


def main():
    spans = instrumented() if "openllmetry" in sys.argv[1:] else None
    client = openai.OpenAI(max_retries=0)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        command, *numbers = line.split()
        numbers = [int(number) for number in numbers]
        if command == "stream":
            answer = stream(client, *numbers)
        elif command == "calls":
            answer = calls(client, *numbers)
        elif command == "large":
            answer = large(client, *numbers)
        elif command == "together":
            answer = asyncio.run(together(*numbers))
        elif command == "spans":
            answer = {"spans": spans() if spans else []}
        else:
            sys.exit(f"no command {command}")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
