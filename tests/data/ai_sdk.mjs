// Vercel's AI SDK as a client: node --input-type=module -e <this> <vendor> <address> <key>; prints what it saw as JSON.
import {
    experimental_cancelBatch as cancel,
    experimental_getBatchResults as results,
    experimental_getBatchStatus as status,
    experimental_listBatches as list,
    experimental_startBatch as start,
} from 'ai';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createGoogleGenerativeAI } from '@ai-sdk/google';

const [vendor, base, apiKey] = process.argv.slice(1);
const xai = async () => (await import('@ai-sdk/xai')).createXai({ baseURL: `${base}/v1`, apiKey });
const [provider, model] = await {
    anthropic: () => [createAnthropic({ baseURL: `${base}/v1`, apiKey }), 'claude-haiku-4-5'],
    gemini: () => [createGoogleGenerativeAI({ baseURL: `${base}/v1beta`, apiKey }), 'gemini-2.5-flash'],
    xai: async () => [await xai(), 'grok-4.3'],
}[vendor]();
const ask = id => ({ id, type: 'text', model, prompt: 'hi' });

const batch = await start({ provider, requests: [ask('a'), ask('b')] });
const seen = [];
while (seen.at(-1) !== 'completed' && seen.length < 20) seen.push((await status({ provider, batch })).status);
const rows = [];
for await (const row of results({ provider, batch })) rows.push(row);
const other = await start({ provider, requests: [ask('c')] });
await cancel({ provider, batch: other });
const listed = (await list({ provider, limit: 2 })).batches.map(one => one.id);
console.log(JSON.stringify({ seen, rows, listed, made: [other.id, batch.id] }));
