#!/usr/bin/env python3
"""What nobody reads: a long upload and then a chat on one connection, and a long transfer that is not HTTP.

unread.py SERVER_PEM MEBIBYTES
"""

import http.client
import json
import os
import ssl
import sys
import time
import urllib.parse

PIECE = b"\xee" * (64 << 10)
pem, mebibytes = sys.argv[1], int(sys.argv[2])


def pieces():
    """So many MiB, in a time in which a reader can say that it wants no more."""
    for _ in range(mebibytes):
        for _ in range(16):
            yield PIECE
        time.sleep(0.05)


context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
url = urllib.parse.urlsplit(os.environ["OPENAI_BASE_URL"])
connection = http.client.HTTPSConnection(url.netloc, context=context)
connection.request("PUT", "/files/archive", pieces(), {"Content-Length": str(mebibytes << 20)})
connection.getresponse().read()
body = json.dumps({"model": "gpt-5.2", "messages": [{"role": "user", "content": "hello"}]})
headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}", "Content-Type": "application/json"}
connection.request("POST", f"{url.path}/chat/completions", body, headers)
assert json.load(connection.getresponse())["choices"]

# Both ends in this process, over buffers in memory.
there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
client_side.check_hostname, client_side.verify_mode = False, ssl.CERT_NONE
server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server_side.load_cert_chain(pem)
client = client_side.wrap_bio(back, there)
server = server_side.wrap_bio(there, back, server_side=True)
waiting = [client, server]
while waiting:
    for end in list(waiting):
        try:
            end.do_handshake()
            waiting.remove(end)
        except ssl.SSLWantReadError:
            pass
for piece in pieces():
    client.write(piece)
    got = 0
    while got < len(piece):
        got += len(server.read(len(piece)))
print("done", flush=True)
