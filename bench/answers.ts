// Streams an answer of 10,000 pieces to three readers, while 200 other chats are answered by the same process. Checks that each
// reader gets all pieces in order, that the usage in the ledger equals what the provider reported, and counts the calls: an answer
// needs far fewer than it has pieces, because pieces that arrive during a call are stored by the next one.
//
//   node bench/answers.ts [--pieces 10000] [--readers 3] [--chats 200]
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";
import { createClient } from "graphql-ws";
import pg from "pg";
import { createAccessTokens } from "../src/auth/access-token.ts";
import { generateSigningKey, parseSigningKeys } from "../src/auth/signing-keys.ts";
import { startPlinth } from "./support.ts";

const { values } = parseArgs({
  options: {
    pieces: { type: "string", default: "10000" },
    readers: { type: "string", default: "3" },
    chats: { type: "string", default: "200" },
  },
});
const [PIECES, READERS, CHATS] = [Number(values.pieces), Number(values.readers), Number(values.chats)];
/** Pieces of each of the other answers. */
const FEW = 100;
const SUBSCRIPTION = `subscription ($message: UUID!) {
  messageDeltas(messageId: $message) { sequence isOver deltas { sequence } message { state } }
}`;

/** A provider that streams as many pieces as the question asks for. */
const provider = createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  const pieces = Number(JSON.parse(body).messages.at(-1).content);
  response.writeHead(200, { "content-type": "text/event-stream" });
  const send = (value: object) => response.write(`data: ${JSON.stringify(value)}\n\n`);
  for (let n = 1; n <= pieces; n++) {
    const hasRoom = send({ choices: [{ index: 0, delta: { content: `${n} ` }, finish_reason: null }] });
    if (!hasRoom) await new Promise((resolve) => response.once("drain", resolve));
    if (n % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  send({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
  send({ choices: [], usage: { prompt_tokens: 7, completion_tokens: pieces } });
  response.end("data: [DONE]\n\n");
});
await new Promise<void>((resolve) => provider.listen(0, "127.0.0.1", resolve));
const providerUrl = `http://127.0.0.1:${(provider.address() as AddressInfo).port}/v1`;

const keys = generateSigningKey();
const tokens = createAccessTokens({
  keys: parseSigningKeys(keys),
  issuer: "plinth",
  audience: "plinth",
  ttlSeconds: 3_600,
});
const plinth = await startPlinth({
  PLINTH_JWT_KEYS: keys,
  PLINTH_ANSWERER: "on",
  PLINTH_ANSWERER_CONCURRENCY: String(CHATS + 1),
  PLINTH_LLM_URL: providerUrl,
});
const owner = new pg.Client({ connectionString: await plinth.databaseUrl("owner") });
await owner.connect();

const one = async (sql: string, params: unknown[] = []) =>
  Object.values((await owner.query(sql, params)).rows[0])[0] as string;

try {
  const model = await one("select id from llm.models where name = 'default'");
  const user = await one("select private.register_user('ada', 'ada@example.com', null, $1, 'argon2id')", [
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo",
  ]);
  await one("select private.grant_tokens($1, 1000000000, 'purchase', null, 100, null, null, 'enough')", [
    user,
  ]);
  const { token } = tokens.sign({ userId: user, sessionId: randomUUID(), tokenVersion: 0 });

  /** Requests an answer of so many pieces in a new chat. */
  async function request(pieces: number): Promise<string> {
    await owner.query("begin");
    await owner.query("select set_config('jwt.claims.user_id', $1, true)", [user]);
    const chat = await one("insert into llm.chats (user_id) values ($1) returning id", [user]);
    await owner.query("select llm.send_chat_message($1, $2)", [chat, String(pieces)]);
    const message = await one("select id from llm.request_answer($1, $2, max_tokens => 100000)", [
      chat,
      model,
    ]);
    await owner.query("commit");
    return message;
  }

  const started = performance.now();
  const message = await request(PIECES);
  const clients = Array.from({ length: READERS }, () =>
    createClient({
      url: `${plinth.url.replace("http", "ws")}/graphql`,
      connectionParams: { authorization: `Bearer ${token}` },
    }),
  );
  const reading = clients.map(
    (client) =>
      new Promise<number[]>((resolve, reject) => {
        const seen: number[] = [];
        client.subscribe<{ messageDeltas: { isOver: boolean; deltas: { sequence: number }[] } }>(
          { query: SUBSCRIPTION, variables: { message } },
          {
            next({ data, errors }) {
              if (errors) reject(new Error(JSON.stringify(errors)));
              seen.push(...(data?.messageDeltas.deltas ?? []).map(({ sequence }) => sequence));
            },
            error: reject,
            complete: () => resolve(seen),
          },
        );
      }),
  );
  const others: string[] = [];
  for (let n = 0; n < CHATS; n++) others.push(await request(FEW));
  const seen = await Promise.all(reading);
  const complete = "select count(*)::integer from llm.messages where id = any ($1) and state = 'complete'";
  while (Number(await one(complete, [[message, ...others]])) < CHATS + 1)
    await new Promise((resolve) => setTimeout(resolve, 100));
  const seconds = (performance.now() - started) / 1_000;

  const whole = seen.every((list) => list.length === PIECES && list.every((n, i) => n === i + 1));
  const calls = await one(
    "select count(distinct xmin::text)::integer from llm.message_deltas where message_id = $1",
    [message],
  );
  const usage = await one("select sum(output_tokens)::text from billing.usage_events where user_id = $1", [
    user,
  ]);
  console.log(`${READERS} readers received all ${PIECES} pieces in order: ${whole}`);
  console.log(`calls that stored them: ${calls} (${(PIECES / Number(calls)).toFixed(0)} pieces a call)`);
  console.log(`output tokens reported ${PIECES + CHATS * FEW}, in the ledger ${usage}`);
  console.log(`${CHATS} other answers of ${FEW} pieces meanwhile; ${seconds.toFixed(1)} s in all`);
  if (!whole || Number(usage) !== PIECES + CHATS * FEW) process.exitCode = 1;
  for (const client of clients) client.dispose();
} finally {
  await owner.end();
  await plinth.stop();
  provider.closeAllConnections();
  provider.close();
}
