import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createTestPlinth, type TestPlinth, type TestUser } from "plinth/testing";

let plinth: TestPlinth;
let ada: TestUser;
let ben: TestUser;

before(async () => {
  plinth = await createTestPlinth();
  ada = await plinth.createUser("ada");
  ben = await plinth.createUser("ben");
});
after(() => plinth?.close());

const CREATE = `mutation ($note: NoteInput!) { createNote(input: { note: $note }) { note { id body excerpt } } }`;

test("a note is visible to its author and to no other user", async () => {
  const created = await plinth.graphql(CREATE, { user: ada, variables: { note: { body: "Buy apples." } } });
  assert.deepEqual(created.errors, undefined);

  const query = "{ notes(first: 10) { nodes { body } } }";
  const own = await plinth.graphql(query, { user: ada });
  assert.deepEqual(own.data.notes.nodes, [{ body: "Buy apples." }]);
  const others = await plinth.graphql(query, { user: ben });
  assert.deepEqual(others.data.notes.nodes, []);
});

test("the policy also rejects SQL", async () => {
  const { rows } = await plinth.as(ada, (client) =>
    client.query("insert into app.notes (body) values ('Only mine.') returning id"),
  );
  const deleted = await plinth.as(ben, (client) =>
    client.query("delete from app.notes where id = $1", [rows[0].id]),
  );
  assert.equal(deleted.rowCount, 0);
  await assert.rejects(
    plinth.as(ben, (client) =>
      client.query("insert into app.notes (user_id, body) values ($1, 'In her name.')", [ada.id]),
    ),
    { code: "42501" },
  );
  await assert.rejects(
    plinth.as(null, (client) => client.query("select from app.notes")),
    { code: "42501" },
  );
});

test("a long note has an excerpt", async () => {
  const { data } = await plinth.graphql(CREATE, {
    user: ada,
    variables: { note: { body: "a".repeat(100) } },
  });
  assert.equal(data.createNote.note.excerpt, `${"a".repeat(79)}…`);
});

test("the job deletes expired notes only", async () => {
  const left = await plinth.asOwner(async (client) => {
    await client.query(
      `insert into app.notes (user_id, body, expires_at)
       values ($1, 'Old.', now() - interval '1 minute'), ($1, 'Later.', now() + interval '1 day')`,
      [ben.id],
    );
    const { rows } = await client.query("select count(*)::integer - 1 as left from app.notes");
    return rows[0].left;
  });
  assert.deepEqual(await plinth.runJob("delete-expired-notes"), { deleted: 1 });
  const { rows } = await plinth.asOwner((client) =>
    client.query("select count(*)::integer as left from app.notes"),
  );
  assert.equal(rows[0].left, left);
});
