// The cost of merging: the speed of learning.record_heartbeat as a ratio to plain inserts of the same values, one row a heartbeat,
// into a table with the same references, partitions and row security (as in an application without sessions). Both run as the
// API's user role, each in its own transaction, alternately; medians. Target: at least 0.7 with a durable commit. A commit that is
// not durable shows the full cost of merging.
//   node bench/heartbeat.ts [--users 2000] [--items 500] [--heartbeats 3000] [--rounds 6] [--clients 1]
import { randomUUID } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import pg from "pg";
import { loadConfig } from "../src/config/config.ts";
import { roleName } from "../src/config/roles.ts";
import { openDatabase } from "../src/database/database.ts";
import { bringUpToDate } from "../src/start/up-to-date.ts";
import { percentile } from "./support.ts";

const { values } = parseArgs({
  options: {
    users: { type: "string", default: "2000" },
    items: { type: "string", default: "500" },
    heartbeats: { type: "string", default: "3000" },
    rounds: { type: "string", default: "6" },
    clients: { type: "string", default: "1" },
  },
});
const USERS = Number(values.users);
const ITEMS = Number(values.items);
const HEARTBEATS = Number(values.heartbeats);
const ROUNDS = Number(values.rounds);
const CLIENTS = Number(values.clients);
/** Concurrent players; each sends one heartbeat after the other, as a player does every ten seconds. */
const PLAYERS = 50;

const data = mkdtempSync(join(tmpdir(), "plinth-bench-"));
chmodSync(data, 0o711);
const config = loadConfig({ PLINTH_DATA: data });
const database = await openDatabase(config);
try {
  await bringUpToDate(config, database);
  const userRole = roleName(config.rolePrefix, "user");
  const owner = new pg.Client(database.url("owner"));
  owner.on("error", () => {}); // the server stops while it is connected if something below fails
  await owner.connect();
  await owner.query(`
    insert into identity.users (username) select 'bench' || i from generate_series(1, ${USERS}) i;
    insert into learning.content_categories (slug, name) values ('bench', 'Bench');
    insert into learning.content_items (category_id, slug, content_type, title, duration_seconds)
      select c.id, 'bench-' || i, 'video', 'Bench', 3600 from learning.content_categories c, generate_series(1, ${ITEMS}) i;
    insert into learning.content_versions (item_id, version, published_at) select id, 1, now() from learning.content_items;
    update learning.content_items set current_version = 1, publish_from = now() - interval '1 day';
    create table learning.plain_heartbeats (
      user_id uuid not null default plinth.current_user_id() references identity.users on delete cascade,
      item_id uuid not null references learning.content_items on delete cascade,
      event_id uuid not null,
      version integer not null,
      from_seconds integer not null,
      to_seconds integer not null,
      active_seconds integer not null,
      occurred_at timestamptz not null,
      created_at timestamptz not null default now(),
      primary key (user_id, event_id, created_at),
      check (to_seconds >= from_seconds),
      check (active_seconds >= 0)
    ) partition by range (created_at);
    create index on learning.plain_heartbeats (item_id, created_at);
    alter table learning.plain_heartbeats enable row level security;
    create policy insert_own on learning.plain_heartbeats for insert to ${userRole}
      with check (user_id = (select plinth.current_user_id()));
    grant insert on learning.plain_heartbeats to ${userRole};
    select from private.ensure_partitions(3);
  `);
  const idsOf = async (sql: string) => (await owner.query<{ id: string }>(sql)).rows.map(({ id }) => id);
  const users = await idsOf("select id from identity.users order by random()");
  const items = await idsOf("select id from learning.content_items order by random()");

  const clients = await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      const client = new pg.Client(database.url("authenticator"));
      client.on("error", () => {});
      await client.connect();
      return client;
    }),
  );
  const kinds = {
    plain: `insert into learning.plain_heartbeats (item_id, event_id, from_seconds, to_seconds, active_seconds, occurred_at, version)
      values ($1, $2, $3, $4, 10, now(), 1)`,
    merged: "select (learning.record_heartbeat($1, $2, $3, $4, 10, now(), 1)).progress",
  } as const;
  type Kind = keyof typeof kinds;

  const times: Record<Kind, number[]> = { plain: [], merged: [] };

  /** Sends heartbeats of both kinds alternately, so that other load on the machine affects both. */
  async function run(round: number): Promise<void> {
    await Promise.all(
      clients.map(async (client, c) => {
        for (let i = c; i < HEARTBEATS; i += CLIENTS)
          for (const kind of i % 2 ? (["plain", "merged"] as const) : (["merged", "plain"] as const)) {
            const player = (i % PLAYERS) + PLAYERS * round;
            const from = 10 * Math.floor(i / PLAYERS);
            const started = performance.now();
            // Like the API: the role and the claims, then the statement, in one transaction.
            await client.query("begin");
            await client.query({
              name: "claims",
              text: "select set_config('role', $1, true), set_config('jwt.claims.user_id', $2, true)",
              values: [userRole, users[player % USERS]],
            });
            await client.query({
              name: kind,
              text: kinds[kind],
              values: [items[player % ITEMS], randomUUID(), from, from + 10],
            });
            await client.query("commit");
            times[kind].push(performance.now() - started);
          }
      }),
    );
  }

  for (const commit of ["on", "off"]) {
    for (const client of clients) await client.query(`set synchronous_commit = ${commit}`);
    await run(0); // warm-up
    times.plain = [];
    times.merged = [];
    for (let round = 1; round <= ROUNDS; round++) await run(round);
    const [plain, merged] = [percentile(times.plain, 0.5), percentile(times.merged, 0.5)];
    console.log(
      `durable ${commit.padEnd(3)}  plain ${plain.toFixed(3)} ms  merged ${merged.toFixed(3)} ms  ratio ${(plain / merged).toFixed(2)}`,
    );
  }
  await Promise.all(clients.map((client) => client.end()));
  await owner.end();
} finally {
  await database.close();
  rmSync(data, { recursive: true, force: true });
}
