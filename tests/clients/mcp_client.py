#!/usr/bin/env python3
"""The official SDK's MCP client: mcp_client.py URL MODE [REQUEST…]; MODE is auto, legacy, sse or a version."""

import asyncio
import sys

from mcp import Client
from mcp.client.sse import sse_client


async def ask(client, what):
    kind, _, name = what.partition("=")
    match kind:
        case "tools":
            return await client.list_tools()
        case "call":
            return await client.call_tool(name, {"city": "Dresden"})
        case "prompt":
            return await client.get_prompt(name, {"city": "Dresden"})
        case "resource":
            return await client.read_resource(name)
    sys.exit(f"no request {kind}")


async def main(url, mode, *requests):
    server = sse_client(url) if mode == "sse" else url
    async with Client(server, mode="legacy" if mode == "sse" else mode) as client:
        for what in requests:
            try:
                await ask(client, what)
            except Exception as error:
                print(f"{what}: {type(error).__name__}")
    print("done")


asyncio.run(main(*sys.argv[1:]))
