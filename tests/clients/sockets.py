"""http.client, and the ways that data takes through the kernel without TLS: sockets.py [SCENARIO[=COUNT]…]; wants
OPENAI_BASE_URL, for the scenarios with sockets of their own one without TLS, and SSL_CERT_FILE."""

import http.client
import json
import os
import socket
import threading
import urllib.parse

from scenario import chosen, prompt, wait

URL = urllib.parse.urlsplit(os.environ["OPENAI_BASE_URL"])
PATH = f"{URL.path}/chat/completions"


def connect():
    if URL.scheme == "https":
        return http.client.HTTPSConnection(URL.netloc)
    return http.client.HTTPConnection(URL.netloc)


def body(stream=False, text="hello", **directive):
    content = {"model": "llama3.2", "messages": [{"role": "user", "content": prompt(text, **directive)}]}
    if stream:
        content |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(content).encode()


def ask(connection, **how):
    connection.request("POST", PATH, body(**how), {"content-type": "application/json"})
    return connection.getresponse().read()


def keep_alive():
    connection = connect()
    for _ in range(5):
        ask(connection)
        ask(connection, stream=True, tokens=30, interval_us=1000)
    ask(connection, text="x" * 1_000_000)
    ask(connection, stream=True, tokens=3000)
    connection.close()


def threads():
    def run():
        for _ in range(5):
            connection = connect()
            ask(connection)
            ask(connection, stream=True, tokens=20, interval_us=1000)
            connection.close()

    running = [threading.Thread(target=run) for _ in range(20)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def exchange(send):
    """One call over a socket of its own, sent by `send(socket, head, body)`."""
    content = body(stream=True, tokens=10, framing="close")
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: {URL.netloc}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(content)}\r\n\r\n"
    ).encode()
    with socket.create_connection((URL.hostname, URL.port)) as connection:
        send(connection, head, content)
        while connection.recvmsg_into([bytearray(100), bytearray(4000)])[0]:
            pass


def in_pieces():
    exchange(lambda connection, head, content: connection.sendmsg([head, b"", content[:20], content[20:]]))
    exchange(lambda connection, head, content: os.writev(connection.fileno(), [head, content]))
    exchange(lambda connection, head, content: [connection.send(bytes([byte])) for byte in head + content])


def sent_as_file():
    """The body goes from a file into the socket: llmtap does not see it, and says so."""

    def send(connection, head, content):
        with open("/tmp", "w+b", opener=lambda folder, _: os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)) as file:
            file.write(content)
            file.flush()
            connection.sendall(head)
            assert os.sendfile(connection.fileno(), file.fileno(), 0, len(content)) == len(content)

    exchange(send)


def waits():
    """A connection that is open, and used, before the tracer comes."""
    connection = connect()
    ask(connection)
    wait()
    ask(connection)
    ask(connection, stream=True, tokens=30, interval_us=1000)


SCENARIOS = {f.__name__: f for f in (keep_alive, threads, in_pieces, sent_as_file, waits)}

if __name__ == "__main__":
    for scenario, count in chosen(SCENARIOS, ["keep_alive"]):
        for _ in range(count):
            scenario()
    print("done")
