// The OpenAI SDK on Node.js; wants OPENAI_BASE_URL and NODE_EXTRA_CA_CERTS.
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 });
const prompt = (directive) => `mock: ${JSON.stringify(directive)} hello`;
const user = (directive) => [{ role: "user", content: prompt(directive) }];
const text = { tokens: 40, interval_us: 2000, ttft_us: 20000 };
const calls = [
  { name: "weather", arguments: { city: "Köln", days: 3 } },
  { name: "clock", arguments: { zone: "Europe/Berlin" } },
];
const parameters = { type: "object", properties: {} };

// Chat: plain, streamed, tools.
let answer = await client.chat.completions.create({ model: "gpt-5", messages: user({ tokens: 12, cached_tokens: 64 }) });
assert.equal(answer.usage.prompt_tokens_details.cached_tokens, 64);
async function stream(model, directive) {
  const options = { include_usage: true };
  const chunks = await client.chat.completions.create({ model, messages: user(directive), stream: true, stream_options: options });
  let usage;
  for await (const chunk of chunks) usage = chunk.usage ?? usage;
  assert.equal(usage.completion_tokens, directive.tokens);
}
await stream("gpt-5-mini", text);
await stream("gpt-5-mini", { ...text, encoding: "br" });
await Promise.all(Array.from({ length: 20 }, (_, n) => stream(`gpt-5-task-${n}`, { tokens: 20 + n, interval_us: 1000 })));
const tools = calls.map(({ name }) => ({ type: "function", function: { name, parameters } }));
const messages = user({ tool_calls: calls });
answer = await client.chat.completions.create({ model: "gpt-5", messages, tools });
messages.push(answer.choices[0].message);
for (const call of answer.choices[0].message.tool_calls) messages.push({ role: "tool", tool_call_id: call.id, content: "sunny" });
answer = await client.chat.completions.create({ model: "gpt-5", messages, tools });
assert.equal(answer.choices[0].finish_reason, "stop");
for await (const _ of await client.chat.completions.create({ model: "gpt-5", messages: user({ tool_calls: calls }), tools, stream: true }));

// Responses, embeddings, completions.
answer = await client.responses.create({ model: "gpt-5", input: prompt({ tokens: 12, reasoning_tokens: 64 }) });
assert.equal(answer.usage.output_tokens_details.reasoning_tokens, 64);
let last;
for await (const event of await client.responses.create({ model: "gpt-5-mini", input: prompt(text), stream: true })) last = event;
assert.equal(last.type, "response.completed");
answer = await client.embeddings.create({ model: "text-embedding-3-small", input: ["one", "two"] });
assert.equal(answer.data[0].embedding.length, 8);
await client.completions.create({ model: "gpt-3.5-turbo-instruct", prompt: prompt({ tokens: 7 }) });

// Errors, a retry, a stream that is left, a timeout.
for (const status of [400, 429, 500]) {
  await assert.rejects(client.chat.completions.create({ model: "gpt-5", messages: user({ status }) }), { status });
  await assert.rejects(client.responses.create({ model: "gpt-5", input: prompt({ status }), stream: true }), { status });
}
await client.responses.create({ model: "gpt-5", input: prompt({ status: 503, fail_times: 1, retry_after: 0 }) }, { maxRetries: 2 });
let seen = 0;
for await (const _ of await client.chat.completions.create({ model: "gpt-5", messages: user({ tokens: 1000, interval_us: 5000 }), stream: true })) {
  if (++seen === 10) break;
}
await assert.rejects(client.responses.create({ model: "gpt-5", input: prompt({ delay_us: 5000000 }) }, { timeout: 400 }), OpenAI.APIConnectionTimeoutError);
console.log("done");
