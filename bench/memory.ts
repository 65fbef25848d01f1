// Resident size of `serve` after ten thousand and after many requests of mixed operations: reads of one row and of pages, inserts, and
// documents that are all different, so that every cache fills. Target: at most 1.2 times.
//
//   node bench/memory.ts [--requests 1000000] [--connections 32]
import { parseArgs } from "node:util";
import { residentOf } from "./compare/cpu.ts";
import { openHttpConnection } from "./compare/http-connection.ts";
import { graphql, startPlinth } from "./support.ts";

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "1000000" },
    connections: { type: "string", default: "32" },
  },
});
const REQUESTS = Number(values.requests);
const FIRST = Math.min(10_000, REQUESTS);
const STEPS = 10;
const PASSWORD = "a sentence that nobody guesses";

const plinth = await startPlinth();
try {
  const url = await plinth.serve();
  const register = await graphql(
    url,
    `mutation { register(input: { username: "bench", email: "bench@example.com", password: "${PASSWORD}" }) { accessToken } }`,
  );
  const { accessToken } = register.register as { accessToken: string };
  const create = 'mutation { createChat(input: { chat: { title: "A chat" } }) { chat { id } } }';
  const { createChat } = await graphql(url, create, {}, accessToken);
  const { id } = (createChat as { chat: { id: string } }).chat;

  let sent = 0;
  /** Of a hundred documents, one is new; the others are the same ones again. */
  const documents = [
    () => ({ query: "query ($id: UUID!) { chat(id: $id) { id title } }", variables: { id } }),
    () => ({
      query: "{ chats(first: 20) { nodes { id title messages(first: 5) { nodes { id content } } } } }",
    }),
    () => ({ query: "{ models(first: 20) { nodes { id displayName } } }" }),
    () => ({ query: `{ chats(first: 1) { nodes { n${sent % 100 === 0 ? sent : 0}: title } } }` }),
    () => ({
      query:
        'mutation ($id: UUID!) { createMessage(input: { message: { chatId: $id, role: user, content: "Text" } }) { message { id } } }',
      variables: { id },
    }),
  ];
  const login = `mutation { login(input: { identifier: "bench", password: "${PASSWORD}" }) { accessToken } }`;
  const connections = await Promise.all(
    Array.from({ length: Number(values.connections) }, () => openHttpConnection(url)),
  );
  async function send(amount: number): Promise<void> {
    // Each step signs in anew: an access token does not last for a million requests.
    const { login: tokens } = await graphql(url, login);
    const headers = `Authorization: Bearer ${(tokens as { accessToken: string }).accessToken}\r\n`;
    const end = sent + amount;
    await Promise.all(
      connections.map(async (connection) => {
        while (sent < end) {
          const document = documents[sent++ % documents.length]!();
          const { status, body } = await connection.ask(headers, JSON.stringify(document));
          if (status !== 200 || body.includes('"errors"'))
            throw new Error(`${status} ${body.toString().slice(0, 500)}`);
        }
      }),
    );
  }

  const size = () => residentOf(plinth.pid());
  console.log(`ready: ${size().toFixed(0)} MB`);
  await send(FIRST);
  const first = size();
  console.log(`after ${FIRST} requests: ${first.toFixed(0)} MB`);
  for (let step = 1; step <= STEPS && REQUESTS > FIRST; step++) {
    await send(Math.round((REQUESTS - FIRST) / STEPS));
    const now = size();
    console.log(
      `after ${sent} requests: ${now.toFixed(0)} MB, ${(now / first).toFixed(2)} times (target: 1.2)`,
    );
  }
  for (const connection of connections) connection.close();
} finally {
  await plinth.stop();
}
