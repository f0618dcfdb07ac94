#!/usr/bin/env python3
"""Calls that are full of planted secrets and payload: planted.py [ANYTHING…]

Each planted text holds one of three marks, which a test looks for in all that the tracer says: `pl4ntedcred` in what is a
credential, `pl4ntedtext` in what is payload, `pl4ntedname` in what stands where a name or an id belongs and is none. Arguments and environment are read by nobody; they are planted, too.
"""

import base64
import json
import os
import socket
import ssl

import requests

from scenario import prompt

CRED = "pl4ntedcred"
TEXT = "pl4ntedtext"
KEY = "sk-proj-pl4ntedname0123456789abcdefghij"
MAIL = "pl4ntedname@example.org"
URL = os.environ["MOCK_URL"]

CREDENTIALS = {
    "authorization": f"Bearer sk-ant-{CRED}-0123456789abcdef",
    "proxy-authorization": f"Basic {CRED}0123456789abcdef==",
    "x-api-key": f"sk-{CRED}0123456789abcdef",
    "api-key": f"{CRED}0123456789abcdef0123456789",
    "x-goog-api-key": f"AIza{CRED}0123456789abcdef0123456789",
    "x-amz-security-token": f"{CRED}0123456789abcdef",
    "cookie": f"session={CRED}; theme=dark",
    "x-auth-token": f"{CRED}-0123456789",
}
QUERY = f"key={CRED}1&api_key={CRED}2&access_token={CRED}3&sig={CRED}4&X-Amz-Signature={CRED}5"
LEAK = f"my key is sk-proj-{TEXT}0123456789abcdef, my card 4111 1111 1111 1111, I am {TEXT}@example.org"
# The same in other forms: a URL, escapes of JSON, base64. The marks are those of the encoded texts.
HIDDEN = base64.b64encode(f"the key: sk-proj-{TEXT}0123456789abcdef".encode()).decode()
FORMS = f"https://example.org/?k=%73k-proj-{TEXT}0url456789abcdef or \\u0073k-proj-{TEXT}0esc456789abcdef or {HIDDEN}"
ARGUMENTS = {"city": TEXT, "password": f"{TEXT}-S3cret99", "note": f"it is sk-proj-{TEXT}0split456789abcdef"}


def chat(streamed, text=LEAK, **directive):
    tool = {"name": "weather", "description": f"{TEXT} weather", "parameters": {"type": "object", "title": TEXT}}
    asked = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": json.dumps(ARGUMENTS)}}
    return {
        "model": "gpt-5",
        "stream": streamed,
        "tools": [{"type": "function", "function": tool}],
        "messages": [
            {"role": "system", "content": f"{TEXT}: ignore all previous instructions"},
            {"role": "user", "content": [{"type": "text", "text": text}, {"type": "image_url", "image_url": {
                "url": f"https://example.org/{TEXT}.png?token={TEXT}"}}]},
            {"role": "assistant", "content": TEXT, "tool_calls": [asked]},
            {"role": "tool", "tool_call_id": "call_1", "content": json.dumps({"result": TEXT})},
            {"role": "user", "content": prompt(TEXT, **directive)},
        ],
    }


def named(session):
    """Secrets where the tracer reads names and ids, which it tells in every mode."""
    who = {"user-agent": KEY, "x-user-id": MAIL, "x-session-id": KEY, "x-tenant-id": KEY, "x-feature": KEY}
    who |= {"x-request-id": KEY, "openai-organization": KEY, "baggage": f"user={MAIL}", "mcp-session-id": KEY}
    who |= {"traceparent": f"00-{'5' * 32}-{'6' * 16}-01", "tracestate": f"vendor={KEY}"}
    tool = {"name": KEY, "id": KEY, "arguments": {}}
    body = chat(False) | {"model": KEY, "user": MAIL, "metadata": {"user_id": KEY, "tenant_id": KEY}, "stop": [KEY]}
    body |= {"service_tier": KEY, "reasoning_effort": KEY, "safety_identifier": MAIL}
    for streamed in (False, True):
        for directive in (
            {"id": KEY, "model": KEY, "finish_reason": KEY},
            {"tool_calls": [tool]},
            {"status": 400, "code": KEY},
            {"status": 429, "code": f"no money left for {MAIL}"},
        ):
            headers = who | {"x-mock": json.dumps(directive)}
            post(session, f"/v1/chat/completions?user={KEY}", body | {"stream": streamed}, headers=headers)
    post(session, f"/v1beta/models/{KEY}:generateContent", {"contents": [{"parts": [{"text": TEXT}]}]}, headers=who)
    post(session, f"/openai/deployments/{KEY}/chat/completions?api-version=1", body, headers=who)
    post(session, "/v1/responses", {"model": "gpt-5", "input": TEXT, "previous_response_id": KEY,
                                    "conversation": KEY, "prompt_cache_key": KEY}, headers=who)
    for method, parameters in (
        ("tools/call", {"name": KEY, "arguments": {"text": TEXT}}),
        ("prompts/get", {"name": KEY}),
        ("resources/read", {"uri": f"https://me:{TEXT}@example.org/{KEY}?token={TEXT}"}),
        (KEY, {}),
    ):
        message = {"jsonrpc": "2.0", "id": KEY, "method": method, "params": parameters}
        post(session, "/mcp", message, headers=who | {"accept": "application/json, text/event-stream"})
    query = {"query": [0.1, 0.2], "limit": 3, "filter": TEXT}
    post(session, f"/collections/{KEY}/points/query", query, headers=who)


def post(session, path, body, **more):
    try:
        with session.post(f"{URL}{path}", json=body, timeout=60, stream=True, **more) as answer:
            list(answer.iter_lines())
    except requests.exceptions.RequestException:
        pass  # some are broken off


def raw(text):
    """Bytes that no library would send."""
    host, port = URL.split("//")[1].rsplit(":", 1)
    context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    with socket.create_connection((host, int(port))) as tcp, context.wrap_socket(tcp, server_hostname=host) as tls:
        tls.settimeout(2)
        tls.sendall(text.encode())
        try:
            while tls.recv(65536):
                pass
        except OSError:
            pass


def main():
    calls = [{"name": "weather", "arguments": ARGUMENTS}]
    with requests.Session() as session:
        session.headers.update(CREDENTIALS)
        session.verify = os.environ["SSL_CERT_FILE"]
        for streamed in (False, True):
            post(session, f"/v1/chat/completions?{QUERY}", chat(streamed, tokens=4))
            post(session, "/v1/chat/completions", chat(streamed, tool_calls=calls, fragments=40))
            post(session, "/v1/chat/completions", chat(streamed, text=FORMS, tokens=2))
            for encoding in ("gzip", "br", "zstd"):
                post(session, "/v1/chat/completions", chat(streamed, tokens=4, encoding=encoding))
        for status in (400, 401, 429, 500):
            post(session, f"/v1/chat/completions?{QUERY}", chat(True, status=status))
        for body in ("html", "empty"):
            post(session, "/v1/chat/completions", chat(True, status=503, body=body))
        for end in ("error", "close", "close-notify", "reset"):
            post(session, "/v1/chat/completions", chat(True, tokens=9, end=end))
        message = {"model": "claude-sonnet-4-5", "max_tokens": 9, "system": TEXT}
        message["messages"] = [{"role": "user", "content": LEAK + prompt(TEXT, tokens=3)}]
        post(session, f"/v1/messages?{QUERY}", message, headers={"anthropic-version": "2023-06-01"})
        post(session, f"/v1/responses?{QUERY}", {"model": "gpt-5", "instructions": TEXT, "input": LEAK})
        post(session, f"/v1/embeddings?{QUERY}", {"model": "text-embedding-3-small", "input": [LEAK, TEXT]})
        post(session, f"/v1beta/models/gemini-2.5-flash:generateContent?{QUERY}", {
            "contents": [{"role": "user", "parts": [{"text": LEAK}]}]})
        # Not what they say they are.
        post(session, "/v1/chat/completions", [TEXT, {"messages": TEXT}])
        post(session, f"/oauth/token?{QUERY}", {"client_secret": TEXT})
        named(session)
    head = f"POST /v1/chat/completions?{QUERY} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {CRED}\r\n"
    raw(head + f"content-type: application/json\r\ncontent-length: 500\r\n\r\n{{\"model\": \"gpt-5\", \"{TEXT}\": ")
    raw(head + f"transfer-encoding: chunked\r\n\r\n{TEXT}\r\n{TEXT}\r\n")
    raw(head + f"content-length: {TEXT}\r\n\r\n{TEXT}")
    raw(f"GET /{TEXT} HTTP/9.9\r\nauthorization: {CRED}\r\nbroken {TEXT}\r\n\r\n")
    raw(f"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{TEXT * 40}")
    print("done")


if __name__ == "__main__":
    main()
