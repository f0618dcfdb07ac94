"""libcurl in its GnuTLS build, as Debian's git and R load it, through ctypes: plain calls and streams over one connection,
a large body, errors, and twenty at once by its multi interface."""

import ctypes
import json
import os

from scenario import chosen, prompt

curl = ctypes.CDLL("libcurl-gnutls.so.4")
for name in ("curl_easy_init", "curl_easy_duphandle", "curl_multi_init", "curl_slist_append"):
    getattr(curl, name).restype = ctypes.c_void_p

# Numbers of curl.h: options are strings and pointers (10000 up), functions (20000 up), or numbers.
URL, POSTFIELDS, CAINFO, HTTPHEADER = 10002, 10015, 10065, 10023
POSTFIELDSIZE, HTTP_VERSION, WRITEFUNCTION = 60, 84, 20011

WRITE = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p)
swallow = WRITE(lambda _bytes, size, count, _user: size * count)


def option(handle, number, value):
    if isinstance(value, int):
        value = ctypes.c_long(value)
    assert curl.curl_easy_setopt(ctypes.c_void_p(handle), number, value) == 0, number


def prepared(handle, model="gpt-5", stream=False, text="hello", keep=[], **directive):
    content = {"model": model, "messages": [{"role": "user", "content": prompt(text, **directive)}]}
    if stream:
        content |= {"stream": True, "stream_options": {"include_usage": True}}
    body = json.dumps(content).encode()
    headers = None
    for line in (f"authorization: Bearer {os.environ['OPENAI_API_KEY']}", "content-type: application/json", "expect:"):
        headers = curl.curl_slist_append(ctypes.c_void_p(headers), line.encode())
    # libcurl copies neither: they must outlive the transfer.
    keep.append((body, headers))
    option(handle, URL, f"{os.environ['OPENAI_BASE_URL']}/chat/completions".encode())
    option(handle, CAINFO, os.environ["CURL_CA_BUNDLE"].encode())
    option(handle, POSTFIELDS, body)
    option(handle, POSTFIELDSIZE, len(body))
    option(handle, HTTPHEADER, ctypes.c_void_p(headers))
    option(handle, WRITEFUNCTION, swallow)
    return handle


def perform(handle, **how):
    assert curl.curl_easy_perform(ctypes.c_void_p(prepared(handle, **how))) == 0


def keep_alive(_count):
    handle = curl.curl_easy_init()
    for _ in range(4):
        perform(handle)
        perform(handle, stream=True, tokens=30, interval_us=1000)
    perform(handle, status=429, retry_after=1)
    perform(handle, text="x" * 1_000_000)
    perform(handle, stream=True, tokens=2000)
    curl.curl_easy_cleanup(ctypes.c_void_p(handle))


def at_once(count):
    multi = ctypes.c_void_p(curl.curl_multi_init())
    for _ in range(count):
        handle = prepared(curl.curl_easy_init(), stream=True, tokens=40, interval_us=2000)
        curl.curl_multi_add_handle(multi, ctypes.c_void_p(handle))
    running = ctypes.c_int(1)
    while running.value:
        assert curl.curl_multi_perform(multi, ctypes.byref(running)) == 0
        curl.curl_multi_wait(multi, None, 0, 100, None)


for scenario, count in chosen({"keep_alive": keep_alive, "at_once": at_once}, ["keep_alive", "at_once=20"]):
    scenario(count)
print("done")
