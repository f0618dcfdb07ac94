// Node's own fetch: fetch.mjs; wants OPENAI_BASE_URL and NODE_EXTRA_CA_CERTS.
const url = `${process.env.OPENAI_BASE_URL}/chat/completions`;

async function call(stream, directive) {
  const body = { model: "gpt-5", stream, messages: [{ role: "user", content: `mock: ${JSON.stringify(directive)} hello` }] };
  if (stream) body.stream_options = { include_usage: true };
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${process.env.OPENAI_API_KEY}` },
    body: JSON.stringify(body),
  });
  await answer.text();
}

await call(false, { tokens: 5 });
await call(true, { tokens: 30, interval_us: 1000, ttft_us: 10000 });
await call(true, { tokens: 30, encoding: "br" });
await call(false, { status: 429 });
await Promise.all(Array.from({ length: 20 }, (_, n) => call(true, { tokens: 20 + n, interval_us: 500 })));
console.log("done");
