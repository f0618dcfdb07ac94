// The Anthropic SDK on Node.js; wants ANTHROPIC_BASE_URL and NODE_EXTRA_CA_CERTS.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ maxRetries: 0 });
const prompt = (directive) => [{ role: "user", content: `mock: ${JSON.stringify(directive)} hello` }];
const ask = (directive, more) => ({ model: "claude-sonnet-5", max_tokens: 9000, messages: prompt(directive), ...more });
const calls = [{ name: "weather", arguments: { city: "Köln", days: 3 } }];
const tools = [{ name: "weather", input_schema: { type: "object", properties: {} } }];

let answer = await client.messages.create(ask({ tokens: 12, cached_tokens: 2000, cache_write_tokens: 300 }));
assert.equal(answer.usage.cache_read_input_tokens, 2000);
answer = await client.messages.stream(ask({ tokens: 40, interval_us: 2000, ttft_us: 20000, thinking: 9 })).finalMessage();
assert.equal(answer.stop_reason, "end_turn");
const messages = prompt({ tool_calls: calls, tokens: 3 });
answer = await client.messages.create(ask({}, { messages, tools }));
messages.push({ role: "assistant", content: answer.content });
const use = answer.content.find((block) => block.type === "tool_use");
messages.push({ role: "user", content: [{ type: "tool_result", tool_use_id: use.id, content: "sunny" }] });
answer = await client.messages.create(ask({}, { messages, tools }));
assert.equal(answer.stop_reason, "end_turn");
answer = await client.messages.stream(ask({ tool_calls: calls }, { tools })).finalMessage();
assert.equal(answer.stop_reason, "tool_use");
for (const status of [400, 429, 529]) {
  await assert.rejects(client.messages.create(ask({ status })), { status });
  await assert.rejects(client.messages.create(ask({ status }, { stream: true })), { status });
}
await client.messages.create(ask({ status: 529, fail_times: 1, retry_after: 0 }), { maxRetries: 2 });
let seen = 0;
for await (const _ of await client.messages.create(ask({ tokens: 1000, interval_us: 5000 }, { stream: true }))) {
  if (++seen === 10) break;
}
console.log("done");
