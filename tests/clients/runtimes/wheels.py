"""Clients from Python wheels that bring a TLS library of their own: wheels.py pycurl|curl_cffi|pyopenssl; wants
OPENAI_BASE_URL and SSL_CERT_FILE."""

import json
import os
import sys

URL = f"{os.environ['OPENAI_BASE_URL']}/chat/completions"
HEADERS = {"authorization": f"Bearer {os.environ['OPENAI_API_KEY']}", "content-type": "application/json"}


def body(stream, text="hello"):
    content = {"model": "gpt-5", "messages": [{"role": "user", "content": text}]}
    if stream:
        content |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(content).encode()


def with_pycurl():
    import pycurl

    curl = pycurl.Curl()

    def post(stream, directive, text="hello"):
        headers = [f"{name}: {value}" for name, value in HEADERS.items()]
        curl.setopt(pycurl.URL, URL)
        curl.setopt(pycurl.CAINFO, os.environ["SSL_CERT_FILE"])
        curl.setopt(pycurl.HTTPHEADER, [*headers, f"x-mock: {json.dumps(directive)}"])
        curl.setopt(pycurl.POSTFIELDS, body(stream, text))
        curl.setopt(pycurl.WRITEFUNCTION, lambda piece: None)
        curl.perform()

    return post


def with_curl_cffi():
    from curl_cffi import requests

    session = requests.Session(verify=os.environ["SSL_CERT_FILE"], impersonate="chrome")

    def post(stream, directive, text="hello"):
        headers = {**HEADERS, "x-mock": json.dumps(directive)}
        answer = session.post(URL, data=body(stream, text), headers=headers, stream=stream)
        for _ in answer.iter_content() if stream else ():
            pass
        answer.close()

    return post


def with_pyopenssl():
    import urllib3
    from urllib3.contrib.pyopenssl import inject_into_urllib3

    inject_into_urllib3()
    pool = urllib3.PoolManager(ca_certs=os.environ["SSL_CERT_FILE"], retries=False)

    def post(stream, directive, text="hello"):
        headers = {**HEADERS, "x-mock": json.dumps(directive)}
        answer = pool.request("POST", URL, body=body(stream, text), headers=headers, preload_content=False)
        for _ in answer.stream(500):
            pass
        answer.release_conn()

    return post


post = {"pycurl": with_pycurl, "curl_cffi": with_curl_cffi, "pyopenssl": with_pyopenssl}[sys.argv[1]]()
for _ in range(4):
    post(False, {})
    post(True, {"tokens": 30, "interval_us": 1000})
post(False, {"status": 429})
post(False, {}, "x" * 1_000_000)
print("done")
