#!/usr/bin/env python3
"""All kinds of calls, round after round, until a line comes on stdin; then it waits for another one."""

import select
import sys
import time

import openai_sync as calls
from openai_sync import client, user
from scenario import prompt, wait


def ends(reason, **directive):
    client.chat.completions.create(
        model="gpt-5", messages=user(prompt(tokens=3, finish_reason=reason, **directive))
    )


def one(number):
    for kind in (
        calls.plain, calls.stream, calls.reasoning, calls.tools, calls.stream_tools, calls.errors, calls.retry,
        calls.error_in_stream, calls.abort, calls.broken, calls.others,
    ):
        kind()
    ends("length")
    ends("content_filter")
    # A gateway says that it went on to another model.
    ends("stop", fallbacks=1)
    # The program's own instructions change.
    client.chat.completions.create(
        model="gpt-5", messages=[{"role": "system", "content": f"Be short, {number}."}, *user(prompt(tokens=2))]
    )
    # The provider moves the name to another release.
    ends("stop", model=f"gpt-5-release-{number % 2}")


number = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    one(number)
    number += 1
    time.sleep(0.2)
sys.stdin.readline()
wait()
