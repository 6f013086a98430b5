// OpenAI's SDK for Node against the proxy; prints what it saw as one line of JSON. Arguments: base URL, input file.
import fs from "node:fs";
import { createRequire } from "node:module";

const OpenAI = createRequire(process.argv[4])("openai").default;
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "sk-1234", maxRetries: 0 });
const stream = () => fs.createReadStream(process.argv[3]);

const file = await client.files.create({ file: stream(), purpose: "batch" });
const asked = { input_file_id: file.id, endpoint: "/v1/chat/completions", completion_window: "24h" };
let batch = await client.batches.create({ ...asked, metadata: { run: "node" } });
while (batch.status !== "completed") batch = await client.batches.retrieve(batch.id);
const output = await (await client.files.content(batch.output_file_id)).text();
const listed = [];
for await (const one of client.batches.list({ limit: 1 })) listed.push(one.id);
const files = [];
for await (const one of client.files.list({ limit: 1 })) files.push(one.id);
const refused = await client.batches.retrieve("batch_nobody").catch((error) => error);
const gone = await client.files.delete(file.id);
console.log(
  JSON.stringify({
    bytes: file.bytes,
    metadata: batch.metadata,
    lines: output.trim().split("\n").length,
    listed: listed.includes(batch.id),
    files: files.includes(file.id),
    refused: [refused.constructor.name, refused.status, typeof refused.requestID],
    deleted: gone.deleted,
  }),
);
