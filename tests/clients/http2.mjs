// Node's own HTTP/2 client, every stream on one session: http2.mjs; wants OPENAI_BASE_URL and NODE_EXTRA_CA_CERTS.
import { connect } from "node:http2";

const base = new URL(process.env.OPENAI_BASE_URL);
const session = connect(base.origin);

function call(stream, directive) {
  const body = { model: "gpt-5", stream, messages: [{ role: "user", content: `mock: ${JSON.stringify(directive)} hello` }] };
  if (stream) body.stream_options = { include_usage: true };
  return new Promise((resolve, reject) => {
    const request = session.request({
      ":method": "POST",
      ":path": `${base.pathname}/chat/completions`,
      "content-type": "application/json",
      authorization: `Bearer ${process.env.OPENAI_API_KEY}`,
    });
    request.on("data", () => {});
    request.on("end", resolve);
    request.on("error", reject);
    request.end(JSON.stringify(body));
  });
}

await call(false, { tokens: 5 });
await call(true, { tokens: 30, interval_us: 1000, ttft_us: 10000 });
await call(true, { tokens: 30, encoding: "br" });
await call(false, { status: 429 });
await Promise.all(Array.from({ length: 20 }, (_, n) => call(true, { tokens: 20 + n, interval_us: 500 })));
session.close();
console.log("done");
