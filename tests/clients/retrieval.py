#!/usr/bin/env python3
"""An agent that looks something up: retrieval.py [SCENARIO…]"""

import os

import openai
import requests

from scenario import chosen, prompt

URL = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")
SEARCH = {"name": "search_rivers", "arguments": {"question": "Which river?"}}


def embed(client):
    return client.embeddings.create(model="text-embedding-3-small", input="Which river?").data[0].embedding


def query(vector, collection="rivers"):
    body = {"query": vector, "limit": 2, "with_payload": True}
    return requests.post(f"{URL}/collections/{collection}/points/query", json=body, timeout=60)


def agent():
    """Embeddings, a vector store and the answer, within one turn."""
    with openai.OpenAI(max_retries=0) as client:
        messages = [{"role": "user", "content": prompt(tool_calls=[SEARCH])}]
        tools = [{"type": "function", "function": {"name": "search_rivers", "parameters": {"type": "object"}}}]
        answer = client.chat.completions.create(model="gpt-5", messages=messages, tools=tools)
        call = answer.choices[0].message.tool_calls[0]
        found = query(embed(client)).json()["result"]["points"]
        result = {"role": "tool", "tool_call_id": call.id, "content": found[0]["payload"]["text"]}
        client.chat.completions.create(
            model="gpt-5", messages=[*messages, answer.choices[0].message, result], tools=tools
        )


def alone():
    """Without a turn: nothing says what belongs together."""
    with openai.OpenAI(max_retries=0) as client:
        query(embed(client)).raise_for_status()


def stores():
    vector = [0.25, -0.5, 0.125]
    assert query(vector, "lakes").status_code == 404
    root = f"{URL}/api/v2/tenants/t/databases/d/collections"
    body = {"query_embeddings": [vector, vector], "n_results": 2}
    requests.post(f"{root}/rivers/query", json=body, timeout=60).raise_for_status()
    assert requests.post(f"{root}/lakes/query", json=body, timeout=60).status_code == 404
    # No query of a store.
    requests.post(f"{URL}/collections/rivers/points/count", json={"exact": True}, timeout=60)


SCENARIOS = {f.__name__: f for f in (agent, alone, stores)}

if __name__ == "__main__":
    for scenario, count in chosen(SCENARIOS, ["agent"]):
        for _ in range(count):
            scenario()
    print("done")
