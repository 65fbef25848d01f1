// The cost of rooms, as ratios of one run:
//   posting    rooms.post_room_message with its unread bookkeeping, to a plain insert of the same row under the same role into a
//              table with the same columns, indexes and foreign keys and its own policy. Target: at least 0.7 times the rate.
//   reading    the last 50 messages of a room with their senders at 10,000 messages and at many. Target: within 1.3.
//   counting   unread and mention counts of a member who has read nothing, at both sizes. The large room adds at most a few
//              hundred rows. Target: within 2, at any size.
// node bench/rooms.ts [--messages 1000000] [--rounds 60]   (full size: --messages 10000000)
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import pg from "pg";
import { loadConfig } from "../src/config/config.ts";
import { openDatabase } from "../src/database/database.ts";
import { bringUpToDate } from "../src/start/up-to-date.ts";
import { percentile } from "./support.ts";

const { values: flags } = parseArgs({
  options: {
    messages: { type: "string", default: "1000000" },
    rounds: { type: "string", default: "60" },
  },
});
const SMALL = 10_000;
const LARGE = Number(flags.messages);
const ROUNDS = Number(flags.rounds);
const POSTS = 50;
const MEMBERS = 20;
const TEXT = "A message of the usual length, such as people write to each other all day long.";

const data = mkdtempSync(join(tmpdir(), "plinth-bench-"));
chmodSync(data, 0o711);
const config = loadConfig({ PLINTH_DATA: data });
const database = await openDatabase(config);

/** Runs a transaction like the API: begin and settings, the statement, commit. */
async function asUser(client: pg.Client, userId: string, text: string, values: unknown[], name: string) {
  await client.query(
    `begin; select set_config('role', '${config.rolePrefix}_user', true), set_config('jwt.claims.user_id', '${userId}', true)`,
  );
  const result = await client.query({ name, text, values });
  await client.query("commit");
  return result;
}

async function connect(count: number): Promise<pg.Client[]> {
  const clients = Array.from({ length: count }, () => new pg.Client(database.url("authenticator")));
  for (const client of clients) client.on("error", () => {});
  await Promise.all(clients.map((client) => client.connect()));
  return clients;
}

/** Returns the milliseconds in which all clients together run `work` `count` times. */
async function time(
  clients: pg.Client[],
  count: number,
  work: (client: pg.Client, i: number) => Promise<unknown>,
) {
  const started = performance.now();
  let left = count;
  await Promise.all(
    clients.map(async (client, i) => {
      while (left-- > 0) await work(client, i);
    }),
  );
  return performance.now() - started;
}

try {
  await bringUpToDate(config, database);
  const owner = new pg.Client(database.url("owner"));
  owner.on("error", () => {}); // the server stops while it is connected if something below fails
  await owner.connect();
  const { rows } = await owner.query<{ id: string }>(
    "select private.register_user('bench' || i, null, null, $2, 'argon2id') as id from generate_series(1, $1) i",
    [MEMBERS, "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo"],
  );
  const users = rows.map(({ id }) => id);
  async function makeRoom(): Promise<string> {
    const { rows } = await owner.query<{ id: string }>(
      "insert into rooms.chat_rooms (creator_id, name) values ($1, 'bench') returning id",
      [users[0]],
    );
    await owner.query("insert into rooms.room_members (room_id, user_id) select $1, unnest($2::uuid[])", [
      rows[0]!.id,
      users,
    ]);
    return rows[0]!.id;
  }

  // Posting -------------------------------------------------------------------------------------------------------------
  await owner.query(`
    create table rooms.plain_messages (like rooms.room_messages including all);
    alter table rooms.plain_messages
      drop constraint plain_messages_room_id_event_sequence_key,
      add foreign key (room_id) references rooms.chat_rooms on delete cascade,
      add foreign key (sender_id) references identity.users on delete set null,
      add foreign key (reply_to_id) references rooms.plain_messages on delete set null,
      enable row level security;
    create index on rooms.plain_messages (room_id, event_sequence);
    grant select, insert on rooms.plain_messages to ${config.rolePrefix}_user;
    create policy insert_member on rooms.plain_messages for insert to ${config.rolePrefix}_user with check (
      sender_id = (select plinth.current_user_id())
      and exists (select from rooms.room_members m
        where m.room_id = plain_messages.room_id and m.user_id = (select plinth.current_user_id()))
    );
    create policy select_member on rooms.plain_messages for select to ${config.rolePrefix}_user using (
      exists (select from rooms.room_members m
        where m.room_id = plain_messages.room_id and m.user_id = (select plinth.current_user_id()))
    )`);
  for (const durable of ["on", "off"])
    for (const count of [1, 8]) {
      const clients = await connect(count);
      for (const client of clients) await client.query(`set synchronous_commit = ${durable}`);
      const rooms: string[] = [];
      for (const _client of clients) rooms.push(await makeRoom());
      const kinds = {
        plain: (client: pg.Client, i: number) =>
          asUser(
            client,
            users[i]!,
            "insert into rooms.plain_messages (room_id, content, metadata) values ($1, $2, '{}') returning *",
            [rooms[i], TEXT],
            "plain",
          ),
        posted: (client: pg.Client, i: number) =>
          asUser(
            client,
            users[i]!,
            "select * from rooms.post_room_message($1, $2)",
            [rooms[i], TEXT],
            "posted",
          ),
      };
      // Short alternating runs, so that other load on the machine affects both equally.
      const measured: Record<keyof typeof kinds, number[]> = { plain: [], posted: [] };
      for (let round = 0; round < ROUNDS; round++)
        for (const kind of round % 2 ? (["plain", "posted"] as const) : (["posted", "plain"] as const))
          measured[kind].push((await time(clients, POSTS, kinds[kind])) / POSTS);
      const ratios = measured.plain.slice(5).map((plain, i) => plain / measured.posted[i + 5]!);
      console.log(
        `posting   durable ${durable.padEnd(3)}  ${count} client${count > 1 ? "s, a room each" : ""}`.padEnd(
          48,
        ) +
          `plain ${percentile(measured.plain, 0.5).toFixed(3)} ms  posted ${percentile(measured.posted, 0.5).toFixed(3)} ms  ratio ${percentile(ratios, 0.5).toFixed(2)}`,
      );
      await Promise.all(clients.map((client) => client.end()));
    }

  // Reading and counting ----------------------------------------------------------------------------------------------
  const [reader] = (await connect(1)) as [pg.Client];
  const small = await makeRoom();
  const large = await makeRoom();
  // Filled without the triggers, which number rows one by one; their rows are inserted below.
  await owner.query("alter table rooms.room_messages disable trigger user");
  // The search index takes as long to fill as everything else, and no query below uses it.
  await owner.query("drop index rooms.room_messages_content_idx");
  for (const [room, size] of [
    [small, SMALL],
    [large, LARGE],
  ] as const)
    for (let from = 1; from <= size; from += 500_000) {
      await owner.query(
        `insert into rooms.room_messages
           (room_id, sender_id, content, sequence, event_sequence, sender_sequence, is_deleted, deleted_at, created_at)
         select $1::uuid, ($2::uuid[])[i % $3 + 1], case when i % 50 = 7 then '' else $4 end, i, $6 + i, i / $3 + 1, i % 50 = 7,
           case when i % 50 = 7 then now() end, now() - ($7 - i) * interval '1 second'
         from generate_series($5::bigint, least($5 + 499999, $7::bigint)) i`,
        [room, users, MEMBERS, TEXT, from, MEMBERS, size],
      );
    }
  await owner.query("alter table rooms.room_messages enable trigger user");
  for (const [room, size] of [
    [small, SMALL],
    [large, LARGE],
  ] as const) {
    await owner.query(
      "update rooms.chat_rooms set last_sequence = $2, last_event_sequence = $3 where id = $1",
      [room, size, size + MEMBERS],
    );
    // Every 50th message is deleted, and every 100th mentions the reader.
    await owner.query(
      `insert into private.room_tallies (room_id, kind, user_id, peer_id, level, bucket, amount)
       select $1::uuid, 'uncounted', null::uuid, null::uuid, l, i >> (6 * l), count(*)
       from generate_series(7, $2::bigint, 50) i, generate_series(0, 3) l group by l, i >> (6 * l)
       union all
       select $1::uuid, 'deleted', ($3::uuid[])[i % $4 + 1], null, l, i >> (6 * l), count(*)
       from generate_series(7, $2::bigint, 50) i, generate_series(0, 3) l group by i % $4, l, i >> (6 * l)
       union all
       select $1::uuid, 'mention', ($3::uuid[])[1], ($3::uuid[])[2], l, i >> (6 * l), count(*)
       from generate_series(1, $2::bigint, 100) i, generate_series(0, 3) l group by l, i >> (6 * l)`,
      [room, size, users, MEMBERS],
    );
  }
  await owner.query("vacuum analyze rooms.room_messages");
  await owner.query("vacuum analyze private.room_tallies");
  await owner.query("analyze rooms.room_members, rooms.chat_rooms");

  const questions = {
    "the last 50 with senders": `
      select rm.id, rm.content, rm.created_at, rm.sender_type, u.username as sender_name
      from rooms.room_messages rm left join identity.profiles u on u.id = rm.sender_id
      where rm.room_id = $1 and rm.is_deleted = false order by rm.created_at desc limit 50`,
    "the last 50 by function": "select * from rooms.recent_room_messages($1)",
    "unread and mention counts": "select * from rooms.unread_counts where room_id = $1",
    "the AI's context": "select * from rooms.room_context($1)",
    "events after a number": `select * from rooms.room_events_after($1, ${SMALL / 2}, 50)`,
  };
  for (const [name, text] of Object.entries(questions)) {
    const measured = { small: [] as number[], large: [] as number[] };
    for (let i = 0; i < 400; i++)
      for (const [size, room] of [
        ["small", small],
        ["large", large],
      ] as const) {
        const started = performance.now();
        await asUser(reader, users[0]!, text, [room], name);
        if (i >= 50) measured[size].push(performance.now() - started);
      }
    const [few, many] = [percentile(measured.small, 0.5), percentile(measured.large, 0.5)];
    console.log(
      `${name.padEnd(48)}${SMALL}: ${few.toFixed(2)} ms  ${LARGE}: ${many.toFixed(2)} ms  ratio ${(many / few).toFixed(2)}`,
    );
  }
  await reader.end();
  await owner.end();
} finally {
  await database.close();
  rmSync(data, { recursive: true, force: true });
}
