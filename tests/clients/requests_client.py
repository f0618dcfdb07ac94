#!/usr/bin/env python3
"""Plain requests, as programs without an SDK: requests_client.py [SCENARIO[=COUNT]…]"""

import json
import os
import threading

import requests

from scenario import chosen, prompt

URL = os.environ["OPENAI_BASE_URL"]
HEADERS = {"Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', 'none')}"}


def body(model, streamed, **directive):
    messages = [{"role": "user", "content": prompt(**directive)}]
    return {"model": model, "stream": streamed, "stream_options": {"include_usage": True}, "messages": messages} if (
        streamed
    ) else {"model": model, "messages": messages}


def call(session, model="gpt-5", streamed=False, **directive):
    with session.post(
        f"{URL}/chat/completions", json=body(model, streamed, **directive), headers=HEADERS, stream=streamed, timeout=60
    ) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert lines
    return lines


def keep_alive():
    with requests.Session() as session:
        for number in range(5):
            call(session, tokens=number + 1)
            call(session, streamed=True, tokens=number + 10, interval_us=1000)


def new_connections():
    for number in range(5):
        call(requests, tokens=number + 1)
        call(requests, streamed=True, tokens=number + 10, interval_us=1000)


def traceparent():
    """A caller that is traced already: the call is to be a child of its span."""
    HEADERS["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    call(requests, tokens=3)
    del HEADERS["traceparent"]


def threads():
    """20 threads, half with a connection kept alive, half with a new one for each call."""
    failures = []

    def work(number):
        try:
            session = requests.Session() if number % 2 else requests
            for turn in range(5):
                call(session, f"gpt-5-thread-{number}", tokens=number + turn)
                call(session, f"gpt-5-thread-{number}", True, tokens=20 + number, interval_us=500)
        except Exception as error:  # a thread's failure must fail the program
            failures.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures, failures


def azure():
    """A deployment's path; its first event has neither id nor model."""
    root = URL.removesuffix("/v1")
    url = f"{root}/openai/deployments/my-gpt/chat/completions?api-version=2026-10-01"
    for streamed in (False, True):
        message = {"messages": [{"role": "user", "content": prompt(tokens=6)}], "stream": streamed}
        requests.post(url, json=message, headers={"api-key": "none"}, timeout=60).raise_for_status()


def gateway():
    """A prefix before the provider's path, as gateways have it."""
    root = URL.removesuffix("/v1")
    url = f"{root}/gateway/eu-1/openai/v1/chat/completions"
    requests.post(url, json=body("gpt-5", False, tokens=6), headers=HEADERS, timeout=60).raise_for_status()


def others():
    """No model calls."""
    root = URL.removesuffix("/v1")
    with requests.Session() as session:
        session.get(f"{root}/v1/models", timeout=60)
        session.get(f"{root}/healthz", timeout=60)
        session.get(f"{root}/events", timeout=60)
        session.post(f"{root}/v1/traces/ingest", json={"model": "gpt-5", "spans": []}, timeout=60)
        session.post(f"{root}/v1/files", data=json.dumps({"messages": ["x" * 5000]}), timeout=60)
        session.post(f"{root}/oauth/token", data={"grant_type": "client_credentials"}, timeout=60)
        session.get(f"{root}/v1/nothing", timeout=60)


SCENARIOS = {f.__name__: f for f in (keep_alive, new_connections, traceparent, threads, azure, gateway, others)}

if __name__ == "__main__":
    for scenario, count in chosen(SCENARIOS, ["keep_alive", "new_connections"]):
        for _ in range(count):
            scenario()
    print("done")
