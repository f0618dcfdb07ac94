#!/usr/bin/env python3
"""An MCP server of the official SDK over TLS: mcp_server.py PEM [json]. Says its port when it serves."""

import socket
import sys

import uvicorn
from mcp.server.mcpserver import MCPServer

server = MCPServer("rivers")


@server.tool()
def weather(city: str) -> str:
    return f"12 degrees in {city}"


@server.tool()
def fails() -> str:
    raise ValueError("no thermometer")


@server.prompt()
def report(city: str) -> str:
    return f"Report on {city}."


@server.resource("river://elbe")
def elbe() -> str:
    return "1094 km"


pem, *options = sys.argv[1:]
listener = socket.create_server(("127.0.0.1", 0))
app = server.sse_app() if "sse" in options else server.streamable_http_app(json_response="json" in options)


class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(listener.getsockname()[1], flush=True)


config = uvicorn.Config(app, ssl_certfile=pem, ssl_keyfile=pem, log_level="error", timeout_graceful_shutdown=1)
Server(config).run([listener])
