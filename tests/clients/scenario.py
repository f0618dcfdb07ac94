"""What the client scripts share: the directive that tells the mock what to do, and the choice of scenarios."""

import json
import sys


def prompt(text="Say something.", **directive):
    """A user prompt that makes the mock behave as told; `mock-provider --help` lists the keys."""
    return f"mock: {json.dumps(directive)} {text}" if directive else text


def wait():
    """Says that it waits, and goes on when a line comes on stdin: a pause that a test controls."""
    print("waiting", flush=True)
    sys.stdin.readline()


def refused(call, kind, status):
    """The call must fail with an error of this kind and, by whatever name the SDK has for it, this status."""
    try:
        call()
    except kind as error:
        told = next(getattr(error, name) for name in ("status_code", "code") if hasattr(error, name))
        assert told == status, error
    else:
        raise AssertionError("no error")


WEATHER = {"name": "weather", "arguments": {"city": "Köln", "days": 3}}
CLOCK = {"name": "clock", "arguments": {"zone": "Europe/Berlin"}}


def chosen(scenarios, default):
    """The scenarios named on the command line, `NAME` or `NAME=COUNT`, as (function, count)."""
    for argument in sys.argv[1:] or default:
        name, _, count = argument.partition("=")
        if name not in scenarios:
            sys.exit(f"{sys.argv[0]}: no scenario {name}; there are {' '.join(scenarios)}")
        yield scenarios[name], int(count or 1)
