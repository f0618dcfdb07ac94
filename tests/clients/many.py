"""Many streams at the same time, with the standard library alone: many.py COUNT TOKENS INTERVAL_US AGENT [CALLS]; wants
OPENAI_BASE_URL and SSL_CERT_FILE. Meanwhile CALLS more loops make short calls, until a line comes on stdin. AGENT is
told as the user agent."""

import asyncio
import json
import os
import resource
import ssl
import sys
import urllib.parse

from scenario import prompt

URL = urllib.parse.urlsplit(os.environ["OPENAI_BASE_URL"])
CONTEXT = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
COUNT, TOKENS, INTERVAL = (int(argument) for argument in sys.argv[1:4])
AGENT = sys.argv[4]
CALLS = int(sys.argv[5]) if len(sys.argv) > 5 else 0
# Handshakes at the same time: more would only wait for each other.
HANDSHAKES = 20


async def connect(room):
    async with room:
        return await asyncio.open_connection(URL.hostname, URL.port, ssl=CONTEXT, ssl_handshake_timeout=300)


def request(**directive):
    stream = "interval_us" in directive
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": prompt("Say something.", **directive)}]}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    body = json.dumps(body).encode()
    head = f"POST {URL.path}/chat/completions HTTP/1.1\r\nhost: {URL.netloc}\r\nuser-agent: {AGENT}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def head(reader):
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
    assert lines[0].startswith("http/1.1 200"), lines[0]
    return dict(line.split(": ", 1) for line in lines[1:] if line)


async def stream(connection, begun):
    reader, writer = connection
    writer.write(request(tokens=TOKENS, interval_us=INTERVAL))
    await head(reader)
    first = True
    while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
        await reader.readexactly(size + 2)
        if first:
            begun()
            first = False
    await reader.readexactly(2)
    writer.close()


async def calls(room, over):
    reader, writer = await connect(room)
    while not over.is_set():
        writer.write(request(tokens=2))
        headers = await head(reader)
        await reader.readexactly(int(headers["content-length"]))
        await asyncio.sleep(0.02)
    writer.close()


async def main():
    room, over = asyncio.Semaphore(HANDSHAKES), asyncio.Event()
    connections = await asyncio.gather(*(connect(room) for _ in range(COUNT)))
    left = COUNT

    def begun():
        nonlocal left
        left -= 1
        if left == 0:
            print("streaming", flush=True)

    others = [asyncio.create_task(calls(room, over)) for _ in range(CALLS)]
    streams = [asyncio.create_task(stream(connection, begun)) for connection in connections]
    await asyncio.wait(streams, return_when=asyncio.FIRST_COMPLETED)
    print("one has ended", flush=True)
    await asyncio.gather(*streams)
    if CALLS:
        await asyncio.to_thread(sys.stdin.readline)
    over.set()
    await asyncio.gather(*others)
    print("done", flush=True)


limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
asyncio.run(main())
