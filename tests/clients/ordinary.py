#!/usr/bin/env python3
"""One call with what Python itself brings, by whoever runs it: ordinary.py MODEL. Waits for a line on stdin before it."""

import http.client
import json
import os
import ssl
import sys
import urllib.parse

context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
url = urllib.parse.urlsplit(os.environ["OPENAI_BASE_URL"])
print("waiting", flush=True)
sys.stdin.readline()
connection = http.client.HTTPSConnection(url.netloc, context=context)
body = json.dumps({"model": sys.argv[1], "messages": [{"role": "user", "content": "hello"}]})
headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}", "Content-Type": "application/json"}
connection.request("POST", f"{url.path}/chat/completions", body, headers)
assert connection.getresponse().status == 200
print("done", flush=True)
