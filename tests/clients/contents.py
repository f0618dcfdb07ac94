#!/usr/bin/env python3
"""What the SDKs of OpenAI and Anthropic sent and got, a line of JSON a call, in the form in which spans tell it:
contents.py [SCENARIO…]"""

import base64
import json

import anthropic
import openai

from scenario import WEATHER, chosen, prompt

MARK = "zanzibar"
SYSTEM = f"Be brief, {MARK}."
PICTURE = base64.b64encode(bytes(range(256)) * 40).decode()
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOLD = f"Weather of {MARK}."
DEFINED = [{"type": "function", "name": "weather", "description": TOLD, "parameters": SCHEMA}]


def text(content):
    return {"type": "text", "content": content}


def call(id, name, arguments):
    return {"type": "tool_call", "id": id, "name": name, "arguments": arguments}


def result(id, response):
    return {"type": "tool_call_response", "id": id, "response": response}


def message(role, *parts):
    return {"role": role, "parts": list(parts)}


def said(sent, parts, reason, system=None, tools=None):
    answer = {**message("assistant", *parts), "finish_reason": reason}
    told = {"system": system, "input": sent, "output": [answer], "tools": tools}
    print(json.dumps({name: value for name, value in told.items() if value}), flush=True)


def openai_parts(answer):
    parts = [text(answer.content)] if answer.content else []
    calls = answer.tool_calls or []
    return parts + [call(c.id, c.function.name, json.loads(c.function.arguments)) for c in calls]


def openai_plain():
    client = openai.OpenAI(max_retries=0)
    ask = prompt(f"What is {MARK}? Ask ann@example.com.", tokens=12)
    url = "https://example.com/zoo.png"
    messages = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": [
            {"type": "text", "text": ask},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
            {"type": "image_url", "image_url": {"url": f"{url}?signature=secret"}},
        ]},
    ]
    choice = client.chat.completions.create(model="gpt-5", messages=messages).choices[0]
    blob = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "", "bytes": 10240}
    uri = {"type": "uri", "modality": "image", "uri": url}
    sent = [message("system", text(SYSTEM)), message("user", text(ask), blob, uri)]
    said(sent, openai_parts(choice.message), choice.finish_reason)


def openai_stream():
    client = openai.OpenAI(max_retries=0)
    ask = prompt(f"What is {MARK}?", tokens=40, interval_us=500)
    messages = [{"role": "user", "content": ask}]
    got, reason = "", None
    for chunk in client.chat.completions.create(model="gpt-5", messages=messages, stream=True):
        for choice in chunk.choices:
            got += choice.delta.content or ""
            reason = choice.finish_reason or reason
    said([message("user", text(ask))], [text(got)], reason)


def openai_tools():
    client = openai.OpenAI(max_retries=0)
    tools = [{"type": "function", "function": {"name": "weather", "description": TOLD, "parameters": SCHEMA}}]
    ask = prompt(f"Weather in {MARK}?", tool_calls=[WEATHER], fragments=4, tokens=3)
    messages = [{"role": "user", "content": ask}]
    sent = [message("user", text(ask))]
    for _ in range(2):
        choice = client.chat.completions.create(model="gpt-5", messages=messages, tools=tools).choices[0]
        parts = openai_parts(choice.message)
        said(sent, parts, choice.finish_reason, tools=DEFINED)
        messages.append(choice.message.model_dump(exclude_none=True))
        sent = [*sent, message("assistant", *parts)]
        for asked in choice.message.tool_calls or []:
            messages.append({"role": "tool", "tool_call_id": asked.id, "content": f"sunny in {MARK}"})
            sent.append(message("tool", result(asked.id, f"sunny in {MARK}")))


def anthropic_parts(answer):
    parts = []
    for block in answer.content:
        if block.type == "text":
            parts.append(text(block.text))
        elif block.type == "thinking":
            parts.append({"type": "reasoning", "content": block.thinking})
        elif block.type == "tool_use":
            parts.append(call(block.id, block.name, block.input))
    return parts


def anthropic_plain():
    client = anthropic.Anthropic(max_retries=0)
    ask = prompt(f"What is {MARK}?", tokens=12)
    answer = client.messages.create(
        model="claude-sonnet-5", max_tokens=100, system=SYSTEM,
        messages=[{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}},
            {"type": "text", "text": ask},
        ]}],
    )
    blob = {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "", "bytes": 10240}
    said([message("user", blob, text(ask))], anthropic_parts(answer), answer.stop_reason, [text(SYSTEM)])


def anthropic_stream():
    client = anthropic.Anthropic(max_retries=0)
    ask = prompt(f"What is {MARK}?", tokens=30, thinking=15, reasoning_tokens=40, interval_us=500)
    messages = [{"role": "user", "content": ask}]
    with client.messages.stream(model="claude-sonnet-5", max_tokens=9000, messages=messages) as events:
        answer = events.get_final_message()
    said([message("user", text(ask))], anthropic_parts(answer), answer.stop_reason)


def anthropic_tools():
    client = anthropic.Anthropic(max_retries=0)
    tools = [{"name": "weather", "description": TOLD, "input_schema": SCHEMA}]
    ask = prompt(f"Weather in {MARK}?", tool_calls=[WEATHER], fragments=4, tokens=3, interval_us=500)
    messages = [{"role": "user", "content": ask}]
    sent = [message("user", text(ask))]
    for _ in range(2):
        with client.messages.stream(
            model="claude-sonnet-5", max_tokens=100, messages=messages, tools=tools
        ) as events:
            answer = events.get_final_message()
        parts = anthropic_parts(answer)
        said(sent, parts, answer.stop_reason, tools=DEFINED)
        messages.append({"role": "assistant", "content": [block.model_dump() for block in answer.content]})
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": f"sunny in {MARK}"}
            for block in answer.content
            if block.type == "tool_use"
        ]
        messages.append({"role": "user", "content": results})
        told = [result(block["tool_use_id"], block["content"]) for block in results]
        sent = [*sent, message("assistant", *parts), message("user", *told)]


SCENARIOS = {
    f.__name__: f
    for f in (openai_plain, openai_stream, openai_tools, anthropic_plain, anthropic_stream, anthropic_tools)
}

if __name__ == "__main__":
    for scenario, _ in chosen(SCENARIOS, SCENARIOS):
        scenario()
