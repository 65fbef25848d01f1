import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import * as graphqlWs from "graphql-ws";
import pg from "pg";
import { createClient } from "../../client/index.ts";
import { startFakeModel } from "../../src/answerer/fake-model.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { ask, type SignedIn, signUp, until } from "../support/api.ts";
import { startAiMember } from "../support/own-writer/ai-member.ts";
import { answerChat } from "../support/own-writer/answer-chat.ts";
import { freePorts } from "../support/ports.ts";
import { ROOM_EVENTS } from "./support.ts";

// A conversation while each of its parts is killed in turn: graphql-ws and plinth/client, an application's own AI, and a Plinth
// with its own database, as a user starts it.

const parts = new AsyncDisposableStack();
let folder: string;
let plinth: ChildProcess | undefined;
let isStopping = false;
let starts = 0;
let ports: { api: number; database: number; network: number };
let network: Server;
const openConnections = new Set<Socket>();
let ada: SignedIn;
let bob: SignedIn;
let serviceUrl: string;
let ownerUrl: string;

const apiUrl = () => `http://127.0.0.1:${ports.api}`;
const networkUrl = () => `http://127.0.0.1:${ports.network}`;

const environment = () => ({
  ...process.env,
  PLINTH_DATA: folder,
  PLINTH_PORT: String(ports.api),
  PLINTH_DATABASE_PORT: String(ports.database),
  PLINTH_RATE_LIMIT_REQUESTS: "100000",
  PLINTH_LOG_LEVEL: "fatal",
  // The tokens of the start are used until the end.
  PLINTH_ACCESS_TOKEN_SECONDS: "86400",
});
const PROGRAM = join(PACKAGE_ROOT, "src/cli/plinth.js");

/** Runs Plinth and restarts it whenever it ends, as a service manager does. */
function supervise(): void {
  if (isStopping) return;
  starts += 1;
  plinth = spawn(process.execPath, [PROGRAM, "start", "--no-demo"], { env: environment(), stdio: "ignore" });
  plinth.once("exit", () => setTimeout(supervise, 100));
}

const isReady = () =>
  fetch(`${apiUrl()}/readyz`).then(
    ({ status }) => status === 200,
    () => false,
  );

async function databaseUrl(role: string): Promise<string> {
  const child = spawn(process.execPath, [PROGRAM, "db", "url", "--role", role], {
    env: environment(),
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  for await (const chunk of child.stdout) text += chunk;
  return text.trim();
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "plinth-conversation-"));
  // As root, PostgreSQL runs as another user.
  await chmod(folder, 0o711);
  const [api, database, networkPort] = (await freePorts(3)) as [number, number, number];
  ports = { api, database, network: networkPort };
  network = createServer((socket) => {
    const onward = connect(ports.api, "127.0.0.1");
    for (const end of [socket, onward]) {
      openConnections.add(end);
      end.on("error", () => {});
      end.once("close", () => {
        openConnections.delete(end);
        socket.destroy();
        onward.destroy();
      });
    }
    socket.pipe(onward).pipe(socket);
  }).listen(ports.network, "127.0.0.1");
  supervise();
  await until(isReady, { timeoutMs: 280_000, everyMs: 100 });
  serviceUrl = await databaseUrl("service");
  ownerUrl = await databaseUrl("owner");
  const plinthApi = {
    ask: (query: string, options?: Parameters<typeof ask>[2]) => ask(apiUrl(), query, options),
  };
  ada = await signUp(plinthApi, "ada");
  bob = await signUp(plinthApi, "bob");
});

afterAll(async () => {
  await parts.disposeAsync();
  isStopping = true;
  network.close();
  for (const socket of openConnections) socket.destroy();
  const exited = new Promise((resolve) => plinth?.once("exit", resolve));
  plinth?.kill("SIGTERM");
  await exited;
  await rm(folder, { recursive: true, force: true });
});

/** Retries until it gets a response, as a client with an idempotency key may. */
async function insist(query: string, variables: Record<string, unknown>, token: string) {
  for (;;) {
    try {
      const { data, errors, text } = await ask(networkUrl(), query, { token, variables });
      if (!errors) return data;
      const { code } = errors[0]!.extensions;
      if (code !== "UNAVAILABLE" && code !== "TIMEOUT") throw new Error(text, { cause: "refused" });
    } catch (error) {
      if ((error as Error).cause === "refused") throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

const say = ({ token }: SignedIn, room: string, content: string) =>
  insist(
    `mutation ($room: UUID!, $content: String!, $key: UUID!) {
       postRoomMessage(input: { roomId: $room, content: $content, idempotencyKey: $key }) { clientMutationId }
     }`,
    { room, content, key: randomUUID() },
    token,
  );

/** A client of graphql-ws itself: the library reconnects, and the client resumes from the last number. */
function followWithGraphqlWs(token: string, room: string): { client: graphqlWs.Client; sequences: number[] } {
  const sequences: number[] = [];
  let cursor = "0";
  const client = graphqlWs.createClient({
    url: `${networkUrl().replace("http", "ws")}/graphql`,
    connectionParams: { authorization: `Bearer ${token}` },
    retryAttempts: 0,
  });
  const follow = () => {
    const again = () => void (isStopping || setTimeout(follow, 200));
    client.subscribe<{ roomEvents: { sequence: string; events: { sequence: string }[] } }>(
      { query: ROOM_EVENTS, variables: { room, after: cursor } },
      {
        next({ data }) {
          if (!data?.roomEvents) return;
          sequences.push(...data.roomEvents.events.map(({ sequence }) => Number(sequence)));
          cursor = data.roomEvents.sequence;
        },
        error: again,
        complete: () => {},
      },
    );
  };
  follow();
  return { client, sequences };
}

/** Ends server, database and network, each in its own way and during other work. */
const ACCIDENTS: readonly (() => Promise<void> | void)[] = [
  () => {
    for (const socket of openConnections) socket.destroy();
  },
  () => void plinth?.kill("SIGKILL"),
  async () => {
    const pid = Number((await readFile(join(folder, "postgres/postmaster.pid"), "utf8")).split("\n")[0]);
    process.kill(pid, "SIGKILL");
  },
  () => {
    for (const socket of openConnections) socket.destroy();
  },
];

const BOBS_EVENTS = `subscription ($room: UUID!, $after: BigInt) {
  roomEvents(roomId: $room, after: $after) { sequence events { sequence message { content senderType } } }
}`;

test("keeps a conversation of two clients and an AI complete and free of duplicates while server, database and network are killed", async () => {
  const model = await startFakeModel({ wordMs: 2 });
  parts.defer(() => model.close());
  const aiMember = startAiMember({ serviceUrl, model: { url: model.url, name: "echo" } });
  parts.defer(() => aiMember.close());
  const { createRoom } = await insist(
    `mutation { createRoom(input: { name: "r", roomType: group, isPublic: true, isAiEnabled: true }) { result { id } } }`,
    {},
    ada.token,
  );
  const room: string = createRoom.result.id;
  await insist(
    "mutation ($room: UUID!) { joinRoom(input: { roomId: $room }) { clientMutationId } }",
    { room },
    bob.token,
  );

  const adas = followWithGraphqlWs(ada.token, room);
  parts.defer(async () => adas.client.dispose());
  const live = createClient({ url: networkUrl(), apiToken: bob.token });
  parts.defer(() => live.close());
  const bobs: { sequence: number; content: string; sender: string }[] = [];
  const followRoom = async () => {
    for await (const { roomEvents } of live.subscribe(BOBS_EVENTS, { room, after: "0" }))
      for (const { sequence, message } of roomEvents.events)
        bobs.push({
          sequence: Number(sequence),
          content: message?.content ?? "",
          sender: message?.senderType ?? "",
        });
  };
  const followingRoom = followRoom();
  followingRoom.catch(() => {}); // Awaited at the end.

  // A chat of Ada's with an answer that lasts through the whole test.
  const owner = new pg.Client({ connectionString: ownerUrl });
  await owner.connect();
  await owner.query("select private.grant_tokens($1, 1000000, 'purchase', null, 100, null, null, 'enough')", [
    ada.userId,
  ]);
  const { rows: models } = await owner.query(
    `with p as (insert into llm.model_providers (name) values ('p') returning id)
     insert into llm.models (provider_id, name, display_name, is_public) select id, 'm', 'M', true from p returning id`,
  );
  await owner.end();
  const words = Array.from({ length: 200 }, (_, i) => `word${i} `).join("");
  const slowModel = await startFakeModel({ wordMs: 50, answer: () => words });
  parts.defer(() => slowModel.close());
  const { createChat } = await insist(
    'mutation { createChat(input: { chat: { title: "c" } }) { chat { id } } }',
    {},
    ada.token,
  );
  const chatId: string = createChat.chat.id;
  await insist(
    'mutation ($chat: UUID!) { sendChatMessage(input: { chatId: $chat, content: "Tell me all." }) { message { id } } }',
    { chat: chatId },
    ada.token,
  );
  const authorization = `Bearer ${ada.token}`;
  const { messageId, done } = await answerChat({
    plinthUrl: networkUrl(),
    authorization,
    chatId,
    modelId: models[0].id,
    model: { url: slowModel.url, name: "slow" },
  });
  const adasPage = createClient({ url: networkUrl(), apiToken: ada.token });
  parts.defer(() => adasPage.close());
  const texts: string[] = [];
  const answer = adasPage.chat.follow(messageId);
  const followAnswer = async () => {
    for await (const { content, isWhole } of answer)
      texts.push((isWhole ? "" : (texts.at(-1) ?? "")) + content);
  };
  const following = followAnswer();

  const said: string[] = [];
  for (const [i, accident] of ACCIDENTS.entries()) {
    for (let n = 0; n < 6; n++) {
      const text = `round ${i} message ${n}`;
      said.push(text);
      const saying = say(n % 2 ? ada : bob, room, text);
      if (n === 2) await accident();
      await saying;
    }
  }
  await done;
  await until(isReady, { timeoutMs: 300_000, everyMs: 100 });
  await following;
  expect(await answer.message).toMatchObject({ state: "complete", content: words });
  // The AI has answered the last message, and both clients received the answer.
  const last = said.at(-1)!;
  await until(() => bobs.some(({ sender, content }) => sender === "ai" && content.includes(last)), {
    timeoutMs: 300_000,
    everyMs: 100,
  });
  const database = new pg.Client({ connectionString: ownerUrl });
  await database.connect();
  parts.defer(() => database.end());
  const { rows: posted } = await database.query<{
    content: string;
    sender_type: string;
    reply_to_id: string;
    n: string;
  }>(
    "select content, sender_type, reply_to_id, event_sequence::text as n from rooms.room_messages where room_id = $1 order by 3",
    [room],
  );
  const { rows: log } = await database.query<{ last: string }>(
    "select last_event_sequence::text as last from rooms.chat_rooms where id = $1",
    [room],
  );
  const everything = Array.from({ length: Number(log[0]!.last) }, (_, i) => i + 1);
  await until(() => adas.sequences.length >= everything.length, { timeoutMs: 300_000 });
  expect(starts).toBeGreaterThanOrEqual(3);
  // In the database: each text once, and no message answered twice.
  const byUsers = posted.filter(({ sender_type }) => sender_type === "user").map(({ content }) => content);
  expect(byUsers.toSorted()).toEqual(said.toSorted());
  const answered = posted
    .filter(({ sender_type }) => sender_type === "ai")
    .map(({ reply_to_id }) => reply_to_id);
  expect(new Set(answered).size).toBe(answered.length);
  // At both clients: all events, once and in order. (Ada was a member from the first event on, Bob sees it too.)
  expect(adas.sequences.filter((n) => n > 1)).toEqual(everything.filter((n) => n > 1));
  expect(bobs.map(({ sequence }) => sequence)).toEqual(everything.filter((n) => n >= bobs[0]!.sequence));
  expect(bobs.filter(({ sender }) => sender === "user").map(({ content }) => content)).toEqual(said);
  live.close();
  await followingRoom;
  // The streamed answer: complete, and it only ever grew.
  expect(texts.at(-1)).toBe(words);
  for (const [i, text] of texts.entries()) expect(text.startsWith(texts[i - 1] ?? "")).toBe(true);
});
