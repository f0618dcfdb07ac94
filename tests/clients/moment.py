#!/usr/bin/env python3
"""One call and the end: a program that lives for a moment, without an SDK."""

import http.client
import json
import os
import ssl
from urllib.parse import urlsplit

from scenario import prompt

url = urlsplit(os.environ["OPENAI_BASE_URL"])
messages = [{"role": "user", "content": prompt(tokens=5)}]
headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}", "Content-Type": "application/json"}
connection = http.client.HTTPSConnection(url.hostname, url.port, context=ssl.create_default_context(), timeout=20)
connection.request(
    "POST", f"{url.path}/chat/completions", json.dumps({"model": "gpt-5", "messages": messages}), headers
)
answer = connection.getresponse()
assert answer.status == 200 and json.load(answer)["choices"]
