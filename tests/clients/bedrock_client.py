#!/usr/bin/env python3
"""Bedrock by boto3, and by the Anthropic SDK: bedrock_client.py [SCENARIO[=COUNT]…]"""

import json
import os

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from scenario import CLOCK, WEATHER, chosen, prompt

NOVA = "eu.amazon.nova-lite-v1:0"
CLAUDE = "anthropic.claude-sonnet-5-20261001-v1:0"
URL = os.environ["MOCK_URL"]
client = boto3.client(
    "bedrock-runtime", endpoint_url=URL, region_name="eu-central-1", verify=os.environ["SSL_CERT_FILE"],
    aws_access_key_id="AKIAMOCK", aws_secret_access_key=os.environ.get("OPENAI_API_KEY", "mock"),
    config=Config(retries={"total_max_attempts": 1}),
)
TOOLS = {
    "tools": [
        {"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name in ("weather", "clock")
    ]
}


def user(text):
    return [{"role": "user", "content": [{"text": text}]}]


def converse():
    answer = client.converse(modelId=NOVA, messages=user(prompt(tokens=12, cached_tokens=2000, cache_write_tokens=300)))
    assert answer["stopReason"] == "end_turn"


def converse_stream(**directive):
    directive = {"tokens": 40, "interval_us": 2000, "ttft_us": 20000, **directive}
    answer = client.converse_stream(modelId=NOVA, messages=user(prompt(**directive)))
    events = [next(iter(event)) for event in answer["stream"]]
    assert events[-1] == "metadata", events


def tools():
    """A round: the model asks for two tools, the results go back, the model answers."""
    messages = user(prompt("What about the weather?", tool_calls=[WEATHER, CLOCK], tokens=3))
    answer = client.converse(modelId=CLAUDE, messages=messages, toolConfig=TOOLS)["output"]["message"]
    messages.append(answer)
    results = [
        {"toolResult": {"toolUseId": part["toolUse"]["toolUseId"], "content": [{"text": "sunny"}]}}
        for part in answer["content"]
        if "toolUse" in part
    ]
    assert len(results) == 2
    messages.append({"role": "user", "content": results})
    assert client.converse(modelId=CLAUDE, messages=messages, toolConfig=TOOLS)["stopReason"] == "end_turn"


def stream_tools():
    text = prompt(tool_calls=[WEATHER, CLOCK], fragments=6, interval_us=1000, tokens=4)
    answer = client.converse_stream(modelId=NOVA, messages=user(text), toolConfig=TOOLS)
    stops = [event["messageStop"]["stopReason"] for event in answer["stream"] if "messageStop" in event]
    assert stops == ["tool_use"]


def claude(text):
    return json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 99, "messages": user_text(text)})


def user_text(text):
    return [{"role": "user", "content": text}]


def invoke():
    answer = client.invoke_model(modelId=CLAUDE, body=claude(prompt(tokens=12, cached_tokens=100)))
    assert json.loads(answer["body"].read())["stop_reason"] == "end_turn"
    answer = client.invoke_model(modelId=NOVA, body=json.dumps({"messages": user(prompt(tokens=5))}))
    assert json.loads(answer["body"].read())["stopReason"] == "end_turn"


def invoke_stream():
    for model, body in (
        (CLAUDE, claude(prompt(tokens=40, interval_us=2000, ttft_us=20000))),
        (NOVA, json.dumps({"messages": user(prompt(tokens=40, interval_us=2000, ttft_us=20000))})),
    ):
        answer = client.invoke_model_with_response_stream(modelId=model, body=body)
        chunks = [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]
        assert len(chunks) > 40


def errors():
    for status in (400, 403, 404, 429, 500, 503):
        for call in (client.converse, client.converse_stream):
            try:
                call(modelId=NOVA, messages=user(prompt(status=status)))
                raise AssertionError("no error")
            except ClientError as error:
                assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status


def error_in_stream():
    try:
        converse_stream(tokens=10, end="error", after=4)
        raise AssertionError("no error")
    except EventStreamError:
        pass


def anthropic_sdk():
    from anthropic import AnthropicBedrock

    sdk = AnthropicBedrock(
        base_url=URL, aws_region="eu-central-1", aws_access_key="AKIAMOCK", aws_secret_key="mock", max_retries=0
    )
    sdk.messages.create(model=CLAUDE, max_tokens=99, messages=user_text(prompt(tokens=7)))
    for _ in sdk.messages.create(model=CLAUDE, max_tokens=99, messages=user_text(prompt(tokens=20)), stream=True):
        pass


SCENARIOS = {
    f.__name__: f
    for f in (
        converse, converse_stream, tools, stream_tools, invoke, invoke_stream, errors, error_in_stream, anthropic_sdk,
    )
}

if __name__ == "__main__":
    for scenario, count in chosen(SCENARIOS, ["converse", "converse_stream"]):
        for _ in range(count):
            scenario()
    print("done")
