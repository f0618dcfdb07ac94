"""Calls whose contents say which they are, one after the other until a line `end` comes on stdin; a line `stream NAME TOKENS`
begins a stream beside them. Wants MOCK_URL and SSL_CERT_FILE. The response id of a call is `call-NAME`, and its prompt
holds the mark `mark-NAME.` and something to redact."""

import http.client
import json
import os
import ssl
import sys
import threading
import time
import urllib.parse

URL = urllib.parse.urlsplit(os.environ["MOCK_URL"])
CONTEXT = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])


def connect():
    return http.client.HTTPSConnection(URL.hostname, URL.port, context=CONTEXT, timeout=60)


def call(connection, name, **directive):
    stream = "interval_us" in directive
    text = f"mark-{name}. my key is sk-proj-pl4ntedtext0123456789abcdef"
    body = {"model": "gpt-5", "stream": stream, "messages": [{"role": "user", "content": text}]}
    directive = json.dumps({"id": f"call-{name}", **directive})
    headers = {"content-type": "application/json", "x-mock": directive}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    answer = connection.getresponse()
    assert answer.status == 200
    if stream:
        answer.readline()
        print(f"began {name}", flush=True)
    answer.read()
    if stream:
        print(f"ended {name}", flush=True)


def short(over):
    connection, number = connect(), 0
    while not over.is_set():
        number += 1
        call(connection, f"s{number}", tokens=2)
        time.sleep(0.03)
    print(f"{number} calls", flush=True)


def main():
    over = threading.Event()
    threads = [threading.Thread(target=short, args=(over,))]
    threads[0].start()
    print("begun", flush=True)
    for line in sys.stdin:
        words = line.split()
        if words == ["end"]:
            break
        directive = {"tokens": int(words[2]), "interval_us": 20000}
        threads.append(threading.Thread(target=call, args=(connect(), words[1]), kwargs=directive))
        threads[-1].start()
    over.set()
    for thread in threads:
        thread.join()
    print("done", flush=True)


main()
