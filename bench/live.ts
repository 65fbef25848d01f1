// The time from commit to the subscriber's socket: 100 rooms with 10 subscribers each (1,000 users, each with their own socket),
// one message at a time, each in another room. For comparison, in the same process and for the same messages, a bare client that
// LISTENs: it receives the notification and reads nothing. Also counts the database connections of the 1,000 subscriptions.
//
//   node bench/live.ts [--rooms 100] [--subscribers 10] [--messages 1000]
import { randomUUID } from "node:crypto";
import { parseArgs } from "node:util";
import pg from "pg";
import { createAccessTokens } from "../src/auth/access-token.ts";
import { generateSigningKey, parseSigningKeys } from "../src/auth/signing-keys.ts";
import { percentile, startPlinth } from "./support.ts";

const { values } = parseArgs({
  options: {
    rooms: { type: "string", default: "100" },
    subscribers: { type: "string", default: "10" },
    messages: { type: "string", default: "1000" },
  },
});
const ROOMS = Number(values.rooms);
const SUBSCRIBERS = Number(values.subscribers);
const MESSAGES = Number(values.messages);
const WARM_UP = 300;
/** Pauses between two messages. After a pause, an idle machine must wake up for each message, more often than for the bare client. */
const PAUSES_MS = { "one after the other": 0, "with pauses": 5 };
/** Messages in each room at the start: if tables are empty when they are analyzed, PostgreSQL plans sequential scans. */
const HISTORY = 20;
const SOME_HASH = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo";
const SUBSCRIPTION = `subscription ($room: UUID!) {
  roomEvents(roomId: $room) { sequence events { sequence kind message { id content senderId } } }
}`;

const keys = generateSigningKey();
const tokens = createAccessTokens({
  keys: parseSigningKeys(keys),
  issuer: "plinth",
  audience: "plinth",
  ttlSeconds: 3_600,
});
const plinth = await startPlinth({ PLINTH_JWT_KEYS: keys });
const clients: pg.Client[] = [];
async function connect(role: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: await plinth.databaseUrl(role) });
  await client.connect();
  clients.push(client);
  return client;
}

try {
  const owner = await connect("owner");
  const users: string[] = [];
  for (let i = 0; i < ROOMS * SUBSCRIBERS; i++) {
    const { rows } = await owner.query<{ id: string }>(
      "select private.register_user($1, $2, null, $3, 'argon2id') as id",
      [`user${i}`, `user${i}@example.com`, SOME_HASH],
    );
    users.push(rows[0]!.id);
  }
  const rooms: { id: string; members: string[] }[] = [];
  for (let i = 0; i < ROOMS; i++) {
    const members = users.slice(i * SUBSCRIBERS, (i + 1) * SUBSCRIBERS);
    const { rows } = await owner.query<{ id: string }>(
      "insert into rooms.chat_rooms (creator_id, name) values ($1, 'bench') returning id",
      [members[0]],
    );
    const { id } = rows[0]!;
    await owner.query(
      `insert into rooms.room_members (room_id, user_id, role)
       select $1, u, case when u = $3 then 'creator' else 'member' end from unnest($2::uuid[]) u`,
      [id, members, members[0]],
    );
    await owner.query("begin");
    await owner.query("select set_config('jwt.claims.user_id', $1, true)", [members[0]]);
    await owner.query("select rooms.post_room_message($1, 'before') from generate_series(1, $2)", [
      id,
      HISTORY,
    ]);
    await owner.query("commit");
    rooms.push({ id, members });
  }
  await owner.query("analyze");

  /** Called when a subscriber receives the message. */
  let onArrival = (_room: string) => {};
  let listening = 0;
  const sockets: WebSocket[] = [];
  for (const { id, members } of rooms) {
    for (const userId of members) {
      const { token } = tokens.sign({ userId, sessionId: randomUUID(), tokenVersion: 0 });
      const socket = new WebSocket(`${plinth.url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
      const send = (message: object) => socket.send(JSON.stringify(message));
      socket.onopen = () => send({ type: "connection_init", payload: { authorization: `Bearer ${token}` } });
      socket.onmessage = ({ data }) => {
        const { type, payload } = JSON.parse(String(data));
        if (type === "connection_ack")
          send({ id: "1", type: "subscribe", payload: { query: SUBSCRIPTION, variables: { room: id } } });
        else if (type === "next" && payload.data?.roomEvents) {
          if (payload.data.roomEvents.events.length > 0) onArrival(id);
          else listening += 1;
        } else if (type !== "ping") throw new Error(String(data));
      };
      sockets.push(socket);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  while (listening < users.length) await new Promise((resolve) => setTimeout(resolve, 50));

  const bare = await connect("service");
  let onNotification = () => {};
  bare.on("notification", ({ payload }) => payload?.startsWith("room:") && onNotification());
  await bare.query("listen plinth_live");

  async function post(i: number): Promise<{ bareTime: number; arrivals: number[] }> {
    const { id, members } = rooms[(i * 37) % ROOMS]!;
    await owner.query("begin");
    await owner.query("select set_config('jwt.claims.user_id', $1, true)", [members[i % SUBSCRIBERS]]);
    await owner.query("select from rooms.post_room_message($1, $2)", [id, `message ${i}`]);
    const arrivals: number[] = [];
    const heard = Promise.withResolvers<number>();
    const all = Promise.withResolvers<void>();
    const startedAt = performance.now();
    onNotification = () => heard.resolve(performance.now() - startedAt);
    onArrival = (room) => {
      if (room !== id) return;
      if (arrivals.push(performance.now() - startedAt) === SUBSCRIBERS) all.resolve();
    };
    await owner.query("commit");
    await all.promise;
    return { bareTime: await heard.promise, arrivals };
  }

  for (let i = 0; i < WARM_UP; i++) await post(i);
  console.log(`${users.length} subscriptions; from commit, medians:`);
  for (const [pace, pauseMs] of Object.entries(PAUSES_MS)) {
    const bareTimes: number[] = [];
    const ranks: number[][] = Array.from({ length: SUBSCRIBERS }, () => []);
    for (let i = 0; i < MESSAGES; i++) {
      const { bareTime, arrivals } = await post(i);
      bareTimes.push(bareTime);
      for (const [rank, time] of arrivals.entries()) ranks[rank]!.push(time);
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    const base = percentile(bareTimes, 0.5);
    const told = (times: readonly number[]) => {
      const time = percentile(times, 0.5);
      return `${time.toFixed(2)} ms (${(time / base).toFixed(1)} times)`;
    };
    console.log(
      `messages ${pace}: bare LISTEN client, which reads nothing, ${base.toFixed(2)} ms; a subscriber's socket ${told(ranks.flat())} (target: at most 3); first ${told(ranks[0]!)}, last of ${SUBSCRIBERS} ${told(ranks.at(-1)!)}`,
    );
  }
  const { rows: connections } = await owner.query<{ count: number }>(
    "select count(*)::integer as count from pg_stat_activity where application_name in ('plinth-api', 'plinth-live')",
  );
  console.log(`${connections[0]!.count} database connections serve the subscriptions`);
  for (const socket of sockets) socket.close();
} finally {
  for (const client of clients) await client.end();
  await plinth.stop();
}
