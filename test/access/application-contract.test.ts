import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import pg from "pg";
import { attemptApplication } from "../../src/access-contract/application-contract.ts";
import { readWarnings, renderApplicationContract } from "../../src/access-contract/application-page.ts";
import { differences, readContract } from "../../src/access-contract/contract.ts";
import { roleName } from "../../src/config/roles.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

// The access contract of an application, with rows that are made from the catalogue.

let db: TestDatabase;
let client: pg.Client;
beforeAll(async () => {
  db = await createTestDatabase();
  await withClient(db.url("owner"), (owner) => owner.query(forum()));
  client = new pg.Client({ connectionString: db.adminUrl });
  await client.connect();
});
afterAll(async () => {
  await client.end();
  await db.drop();
});

const role = (name: "anonymous" | "user") => pg.escapeIdentifier(roleName(db.rolePrefix, name));

const forum = () => `
  create schema forum;
  grant usage on schema forum to ${role("anonymous")}, ${role("user")};
  create domain forum.slug as text check (value ~ '^[a-z]{3,10}-[0-9]{2}$');
  create type forum.mood as enum ('good', 'bad');
  create table forum.boards (id uuid primary key default plinth.uuid_v7(), slug forum.slug not null unique, min integer not null, max integer,
    check (min > 5 and (max is null or max >= min)), opens_at timestamptz not null check (opens_at > '2024-01-01'));
  create table forum.notes (id uuid primary key default plinth.uuid_v7(), user_id uuid not null references identity.users on delete cascade,
    board_id uuid not null references forum.boards, title varchar(12) not null check (length(title) >= 10), mood forum.mood not null,
    code text not null check (code in ('red', 'blue')), data jsonb not null check (jsonb_typeof(data) = 'array'));
  create table forum.stamps (note_id uuid not null references forum.notes on delete cascade, kind text not null, primary key (note_id, kind));
  create table forum.posts (id bigint generated always as identity primary key, user_id uuid references identity.users on delete set null, body text not null);
  create table forum.leaks (user_id uuid primary key references identity.users on delete cascade, secret text not null);
  create table forum.silent (id bigint generated always as identity primary key, body text);
  create table forum.words (word text primary key check (md5(word) like '000%'));
  create table forum.votes (user_id uuid not null default plinth.current_user_id() references identity.users on delete cascade, stars integer not null);
  create view forum.titles with (security_invoker) as select title from forum.notes;
  create function forum.hello(name text) returns text language sql as $$ select 'hello ' || name $$;
  do $$ declare t text; begin
    foreach t in array array['boards', 'notes', 'stamps', 'posts', 'silent', 'words', 'votes'] loop
      execute format('alter table forum.%I enable row level security', t);
    end loop;
  end $$;
  revoke execute on function forum.hello(text) from public;
  grant execute on function forum.hello(text) to ${role("user")};
  grant select on forum.boards, forum.posts, forum.words to ${role("anonymous")}, ${role("user")};
  grant select, insert, update, delete on forum.notes, forum.leaks to ${role("user")};
  grant select on forum.stamps, forum.titles to ${role("user")};
  grant select, insert (stars) on forum.votes to ${role("user")};
  create policy own on forum.votes using (user_id = plinth.current_user_id());
  create policy select_all on forum.boards for select using (true);
  create policy select_all on forum.words for select using (true);
  create policy select_all on forum.posts for select using (true);
  create policy own on forum.notes using (user_id = plinth.current_user_id()) with check (user_id = plinth.current_user_id());
  create policy own on forum.stamps for select using (exists (select from forum.notes n where n.id = note_id));
`;

const WORD =
  "insert into forum.words select w from (select 'w' || n from generate_series(1, 100000) n) x (w) where md5(w) like '000%' limit 1;";

const attempt = (seed?: string) =>
  attemptApplication(client, { rolePrefix: db.rolePrefix, schemas: ["forum"], seed });

describe("an application's contract", () => {
  let text: string;
  beforeAll(async () => {
    text = await attempt(WORD);
  });
  const outcome = (object: string, operation: string, name: string) =>
    readContract(text).contract.get(object)?.get(operation)?.get(name);

  test("has the outcome of real attempts at own rows and rows of others", () => {
    for (const operation of ["select", "update", "delete"]) {
      expect([operation, outcome("table forum.notes", operation, "user")]).toEqual([operation, "own"]);
      expect([operation, outcome("table forum.notes", operation, "other user")]).toEqual([operation, "none"]);
      expect([operation, outcome("table forum.notes", operation, "anonymous")]).toEqual([operation, "-"]);
    }
    expect(outcome("table forum.notes", "insert", "user")).toBe("own; 42501");
    expect(outcome("table forum.notes", "insert", "other user")).toBe("42501");
    // The database fills in the user.
    expect(outcome("table forum.votes", "insert", "user")).toBe("all");
    expect(outcome("table forum.stamps", "select", "user")).toBe("own");
    expect(outcome("table forum.boards", "select", "anonymous")).toBe("all");
    expect(outcome("view forum.titles", "select", "user")).toBe("common 1");
    expect(outcome("function forum.hello(text)", "call", "user")).toBe("called");
    expect(outcome("function forum.hello(text)", "call", "anonymous")).toBe("-");
  });

  test("warns of missing protection, and of rows that are open to other users", () => {
    expect(readWarnings(text).map(({ table, problem }) => `${table} ${problem}`)).toEqual([
      "forum.leaks has no row-level security",
      "forum.leaks lets user, other user read rows whose user_id is another user",
      "forum.leaks lets user, other user insert rows whose user_id is another user",
      "forum.leaks lets user, other user update rows whose user_id is another user",
      "forum.leaks lets user, other user delete rows whose user_id is another user",
      "forum.posts lets anonymous, user, other user read rows whose user_id is another user",
      "forum.silent has row-level security but no policy, so that no role of the API reaches a row",
    ]);
    expect(renderApplicationContract(text)).toContain("- `forum.leaks` has no row-level security.");
  });

  test("asks for a seed where no value satisfies a condition", async () => {
    expect(readWarnings(await attempt()).filter(({ table }) => table === "forum.words")).toEqual([
      {
        table: "forum.words",
        problem: expect.stringMatching(
          /^has no row to try \(.*words_word_check.*\); add one to the seed file$/,
        ),
      },
    ]);
  });

  test("is the same each time, changes with a policy, and leaves nothing in the database", async () => {
    expect(await attempt(WORD)).toBe(text);
    await client.query("drop policy own on forum.notes");
    await client.query(
      "create policy own on forum.notes using (true) with check (user_id = plinth.current_user_id())",
    );
    const changes = differences(text, await attempt(WORD));
    expect(changes).toContainEqual(expect.stringMatching(/^user: select table forum\.notes: own → all$/));
    const { rows } = await client.query(
      "select (select count(*)::int from identity.users) as users, (select count(*)::int from forum.notes) as notes",
    );
    expect(rows).toEqual([{ users: 0, notes: 0 }]);
  });
});
