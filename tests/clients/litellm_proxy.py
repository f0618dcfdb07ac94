#!/usr/bin/env python3
"""The OpenAI SDK through a LiteLLM proxy of its own, over TLS on both hops; wants MOCK_URL and SSL_CERT_FILE."""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import openai

from scenario import WEATHER, prompt

URL = os.environ["MOCK_URL"]
# It does not start without a key that is hard to guess.
KEY = f"sk-{secrets.token_hex(24)}"
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
ROUTES = {
    "team-gpt": ("openai/gpt-5", f"{URL}/v1"),
    "team-claude": ("anthropic/claude-sonnet-5", URL),
}


def configuration():
    """JSON is YAML, too."""
    rows = [
        f'{{"model_name": "{name}", "litellm_params": {{"model": "{model}", "api_base": "{base}", "api_key": "none"}}}}'
        for name, (model, base) in ROUTES.items()
    ]
    settings = f'"general_settings": {{"master_key": "{KEY}"}}, "litellm_settings": {{"num_retries": 0}}'
    return f'{{"model_list": [{", ".join(rows)}], {settings}}}'


def certificate(folder):
    """A certificate of the proxy's own, and a list of authorities that holds it beside the mock's."""
    key, certificate, authorities = folder / "key.pem", folder / "certificate.pem", folder / "authorities.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )
    authorities.write_text(Path(os.environ["SSL_CERT_FILE"]).read_text() + certificate.read_text())
    return key, certificate, authorities


def ready(process, url, authorities):
    """It takes some seconds to start."""
    for _ in range(900):
        if process.poll() is not None:
            sys.exit("the proxy ended")
        try:
            if httpx.get(f"{url}/health/liveliness", verify=str(authorities), timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    sys.exit("the proxy does not answer")


def calls(client):
    for model in ROUTES:
        answer = client.chat.completions.create(model=model, messages=user(tokens=12), max_tokens=100)
        assert answer.usage.completion_tokens == 12
        chunks = client.chat.completions.create(
            model=model, messages=user(tokens=30, interval_us=2000, ttft_us=20000), max_tokens=100, stream=True,
            stream_options={"include_usage": True},
        )
        assert [chunk for chunk in chunks][-1].usage.completion_tokens == 30
        answer = client.chat.completions.create(
            model=model, messages=user(tool_calls=[WEATHER]), tools=TOOLS, max_tokens=100
        )
        assert answer.choices[0].message.tool_calls[0].function.name == "weather"


def user(**directive):
    return [{"role": "user", "content": prompt(**directive)}]


with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    key, certificate, authorities = certificate(folder)
    (folder / "configuration.yaml").write_text(configuration())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("litellm")), "--config", str(folder / "configuration.yaml"), "--host",
         "127.0.0.1", "--port", port, "--ssl_keyfile_path", str(key), "--ssl_certfile_path", str(certificate)],
        stdin=subprocess.DEVNULL, stdout=sys.stderr, env={**os.environ, "LITELLM_TELEMETRY": "False"},
    )
    try:
        url = f"https://localhost:{port}"
        ready(process, url, authorities)
        http = httpx.Client(verify=str(authorities))
        calls(openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, http_client=http))
    finally:
        process.terminate()
        process.wait()
print("done")
