#!/usr/bin/env python3
"""The OpenAI SDK with asyncio over HTTP/2, every stream on one connection: openai_http2.py [SCENARIO[=COUNT]…]"""

import asyncio

import openai

from openai_asyncio import main

if __name__ == "__main__":
    asyncio.run(main(openai.DefaultAsyncHttpxClient(http2=True)))
