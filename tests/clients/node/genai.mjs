// The Google Gen AI SDK on Node.js; wants MOCK_URL and NODE_EXTRA_CA_CERTS.
import assert from "node:assert/strict";
import { GoogleGenAI } from "@google/genai";

const client = new GoogleGenAI({ apiKey: "none", httpOptions: { baseUrl: process.env.MOCK_URL } });
const prompt = (directive) => `mock: ${JSON.stringify(directive)} hello`;
const model = "gemini-3-flash";

let answer = await client.models.generateContent({ model, contents: prompt({ tokens: 12, cached_tokens: 64 }) });
assert.equal(answer.usageMetadata.cachedContentTokenCount, 64);
let last;
const text = prompt({ tokens: 40, interval_us: 2000, ttft_us: 20000 });
for await (const piece of await client.models.generateContentStream({ model, contents: text })) last = piece;
assert.equal(last.usageMetadata.candidatesTokenCount, 40);
const declarations = [{ name: "weather", parametersJsonSchema: { type: "object", properties: {} } }];
answer = await client.models.generateContent({
  model,
  contents: prompt({ tool_calls: [{ name: "weather", arguments: { city: "Köln" } }] }),
  config: { tools: [{ functionDeclarations: declarations }] },
});
assert.equal(answer.functionCalls[0].name, "weather");
for (const status of [400, 503]) {
  await assert.rejects(client.models.generateContent({ model, contents: prompt({ status }) }), { status });
}
console.log("done");
