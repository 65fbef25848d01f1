import { afterAll, beforeAll, expect, test } from "@jest/globals";
import pg from "pg";
import { IDS, withIds } from "../support/access-probes/ids.ts";
import { SEED } from "../support/access-probes/seed.ts";
import { grantRole, registerUser } from "../support/accounts.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { inRolledBackTransaction } from "../support/transaction.ts";

// A single statement that deletes several accounts. Each case is rolled back, so that all start from the same rows.

let db: TestDatabase;
let owner: pg.Client;
let room: string;
const people: Record<string, string> = {};

beforeAll(async () => {
  db = await createTestDatabase();
  owner = new pg.Client(db.url("owner"));
  await owner.connect();
  await owner.query(withIds(SEED));
  for (const name of ["anna", "bert", "cleo", "dora"])
    people[name] = await registerUser(db, `of-room-${name}`);
  const everybody = Object.values(people);
  const { rows } = await owner.query<{ id: string }>(
    "insert into rooms.chat_rooms (name, creator_id) values ('Shared', $1) returning id",
    [people.anna],
  );
  room = rows[0]!.id;
  await owner.query(
    `insert into rooms.room_members (room_id, user_id, role)
     select $1, u.id, case u.id when $2 then 'creator' else 'member' end from unnest($3::uuid[]) u (id)
     on conflict do nothing`,
    [room, people.anna, everybody],
  );
  // Everybody writes to everybody, twice, openly and privately.
  for (let round = 0; round < 2; round++)
    for (const sender of everybody)
      for (const isPrivate of [false, true])
        await inOwnersTransaction(
          sender,
          "select from rooms.post_room_message($1, 'x', mentions => $2, recipients => $3)",
          [
            room,
            everybody.filter((id) => id !== sender),
            isPrivate ? everybody.filter((id) => id !== sender) : null,
          ],
        );
  await owner.query(
    `insert into security.security_audit_log (user_id, actor_id, event_type)
     select a.id, b.id, 'probe' from unnest($1::uuid[]) a (id), unnest($1::uuid[]) b (id)`,
    [everybody],
  );
  await owner.query(
    `insert into security.personal_data_reads (read_id, user_id, actor_id, origin, source, relations, subject_count)
     select a.id, a.id, b.id, 'api', 's', '{identity.users}', 1 from unnest($1::uuid[]) a (id), unnest($1::uuid[]) b (id)`,
    [everybody],
  );
  await grantRole(db, IDS.chief!, "admin");
});
afterAll(async () => {
  await owner?.end();
  await db?.drop();
});

async function inOwnersTransaction(user: string, sql: string, values: unknown[]): Promise<void> {
  await owner.query("begin");
  await owner.query("select set_config('jwt.claims.user_id', $1, true)", [user]);
  await owner.query(sql, values);
  await owner.query("commit");
}

const DELETE = "delete from identity.users where id = any ($1)";

/** The counts and memberships of those who stay. */
const STATE = `
  select jsonb_build_object(
    'tallies', (
      select jsonb_agg(to_jsonb(t) - 'id' order by t.kind, t.user_id, t.level, t.bucket, t.peer_id)
      from private.room_tallies t where t.room_id = $1 and t.amount > 0
    ),
    'members', (select jsonb_agg(jsonb_build_array(m.user_id, m.role) order by m.user_id) from rooms.room_members m where m.room_id = $1),
    'messages', (select jsonb_agg(jsonb_build_array(m.sequence, m.sender_id, m.is_deleted, m.content) order by m.sequence) from rooms.room_messages m where m.room_id = $1)
  ) as state`;

test.each(
  [
    ["anna", "bert"],
    ["bert", "cleo", "dora"],
    ["dora", "anna"],
    ["anna", "bert", "cleo", "dora"],
  ].map((names) => [names]),
)(
  "deletes %p of one room in one statement, with the same result as one after the other [C11]",
  async (names) => {
    const ids = names.map((name) => people[name]!);
    const states: unknown[] = [];
    for (const statements of [[ids], ids.map((id) => [id])])
      await inRolledBackTransaction(db, async ({ client }) => {
        for (const each of statements)
          expect((await client.query(DELETE, [each])).rowCount).toBe(each.length);
        // Deferred and queued checks, too.
        await client.query("set constraints all immediate");
        states.push((await client.query(STATE, [room])).rows[0].state);
        const left = await client.query(
          "select from security.security_audit_log where event_type = 'probe' and (user_id = any ($1) or actor_id = any ($1))",
          [ids],
        );
        expect(left.rowCount).toBe(0);
      });
    expect(states[0]).toEqual(states[1]);
    const { messages } = states[0] as { messages: unknown[] | null };
    expect(messages?.length ?? 0).toBe(names.length === 4 ? 0 : 16);
  },
);

test("deletes every account but the last administrator in one statement, and rejects the last one with the others [C11]", async () => {
  await inRolledBackTransaction(db, async ({ client, attempt }) => {
    await expect(attempt("delete from identity.users")).rejects.toMatchObject({ code: "PL409" });
    const { rowCount } = await client.query("delete from identity.users where id <> $1", [IDS.chief]);
    expect(rowCount).toBeGreaterThan(10);
    await client.query("set constraints all immediate");
    const { rows } = await client.query(
      `select (select count(*)::int from identity.users) as accounts,
         (select count(*)::int from security.erasure_certificates where subject <> 'probe') as certificates,
         (select count(*)::int from private.erasures_in_progress) as unfinished`,
    );
    expect(rows).toEqual([{ accounts: 1, certificates: rowCount, unfinished: 0 }]);
  });
});
