import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createEmbedder } from "../../src/accounts/memories/embedder.ts";
import { createMemoryOpener } from "../../src/accounts/memories/sealed-memories.ts";
import { parseMasterKeys } from "../../src/auth/master-keys.ts";
import { createSealer } from "../../src/auth/sealing.ts";
import type { DoctorContext } from "../../src/cli/doctor/check.ts";
import { checkDrift } from "../../src/cli/doctor/drift.ts";
import { checkMemories } from "../../src/cli/doctor/memories.ts";
import { loadConfig } from "../../src/config/config.ts";
import { disableMemoryVectors, enableMemoryVectors } from "../../src/database/memory-vectors.ts";
import { migrationStatus } from "../../src/database/migrate.ts";
import { rollback } from "../../src/database/rollback.ts";
import { MEMORY_VECTORS_FILE } from "../../src/drift/optional-migrations.ts";
import { readCatalogue } from "../../src/drift/read-catalogue.ts";
import { snapshotText } from "../../src/drift/snapshot.ts";
import { embedMemories } from "../../src/jobs/embed-memories.ts";
import { cli, databaseEnv } from "../cli/run-cli.ts";
import { type Api, MASTER_KEYS, type SignedIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase, testSetup, withClient } from "../support/database.ts";
import { type EmbeddingsEndpoint, startEmbeddingsEndpoint } from "../support/embeddings-endpoint.ts";

// Recall by meaning needs pgvector. The embedded server does not have it: there, these tests prove that everything else works without
// it. With it, TEST_DATABASE_URL names a server that has it.

const HAS_PGVECTOR = await withClient(testSetup().adminUrl, async (client) => {
  const { rowCount } = await client.query("select from pg_available_extensions where name = 'vector'");
  return rowCount === 1;
});

let db: TestDatabase;
let endpoint: EmbeddingsEndpoint;
let api: Api;
let ada: SignedIn;
beforeAll(async () => {
  db = await createTestDatabase();
  endpoint = await startEmbeddingsEndpoint();
  api = await startApi(db, settings());
  ada = await signUp(api, "ada");
});
afterAll(async () => {
  await api.close();
  await endpoint.close();
  await db.drop();
});

const settings = (model = "small") => ({
  PLINTH_EMBEDDINGS_URL: endpoint.url,
  PLINTH_EMBEDDINGS_KEY: "the-key",
  PLINTH_EMBEDDINGS_MODEL: model,
});
const target = () => ({ ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix });
const asOwner = rowsAs("owner", () => db);
const asWorker = rowsAs("worker", () => db);

async function remember(text: string, { token }: SignedIn): Promise<string> {
  const answer = await api.ask(
    "mutation ($text: String!) { createMemory(input: { text: $text }) { memory { id } } }",
    { token, variables: { text } },
  );
  return answer.data.createMemory.memory.id;
}
async function recall(query: string, { token }: SignedIn, from = api) {
  const answer = await from.ask(
    "query ($query: String!) { recallMemories(query: $query) { memory { text } reasons similarity } }",
    { token, variables: { query } },
  );
  if (!answer.data?.recallMemories) throw new Error(answer.text);
  return answer.data.recallMemories as {
    memory: { text: string };
    reasons: string[];
    similarity: number | null;
  }[];
}
const textsOf = async (query: string, user: SignedIn, from = api) =>
  (await recall(query, user, from)).map(({ memory }) => memory.text);
const runJob = (model = "small", masterKeys = MASTER_KEYS) =>
  embedMemories({
    query: (sql, values) => asWorker(sql, values),
    signal: new AbortController().signal,
    embeddings: {
      ...createEmbedder(loadConfig(settings(model)).embeddings)!,
      open: createMemoryOpener(createSealer(parseMasterKeys(masterKeys))),
    },
  });
const findingsOf = (check: typeof checkDrift, env: Record<string, string> = settings()) =>
  withClient(db.url("owner"), async (client) => {
    const config = loadConfig({ ...env, PLINTH_ROLE_PREFIX: db.rolePrefix });
    const findings = await check({ client, config, role: "owner" } as DoctorContext);
    return findings.filter(({ status }) => status !== "ok");
  });

describe("without vectors", () => {
  test("words recall memories, the job does nothing, and doctor says what is missing", async () => {
    await remember("Likes green tea", ada);
    expect(await recall("tea", ada)).toEqual([
      { memory: { text: "Likes green tea" }, reasons: ["words"], similarity: null },
    ]);
    expect(await runJob()).toEqual({ embedded: 0, refused: 0, postponed: 0 });
    expect(endpoint.requests).toEqual([]);
    expect(await findingsOf(checkDrift)).toEqual([]);
    expect(await findingsOf(checkMemories, {})).toEqual([]);
    expect(await findingsOf(checkMemories)).toMatchObject([
      { status: "warn", hint: expect.stringContaining("plinth memory enable-vectors") },
    ]);
    expect(await disableMemoryVectors(target())).toBe(false);
  });

  (HAS_PGVECTOR ? test.skip : test)("the command says that the server does not have pgvector", async () => {
    await expect(enableMemoryVectors(target())).rejects.toMatchObject({
      code: "VECTORS_UNAVAILABLE",
      hint: expect.stringContaining("pgvector"),
    });
    const { code, stderr } = await cli(["memory", "enable-vectors"], { env: databaseEnv(db) });
    expect([code, stderr]).toEqual([1, expect.stringContaining("pgvector")]);
    expect(await findingsOf(checkDrift)).toEqual([]);
  });
});

(HAS_PGVECTOR ? describe : describe.skip)("with vectors (skipped on servers without pgvector)", () => {
  let bob: SignedIn;
  let catalogueBefore: string;
  const catalogue = () => withClient(db.url("owner"), (client) => readCatalogue(client, db.rolePrefix));
  /** The objects of a snapshot, one a line. */
  const linesOf = (snapshot: string) =>
    snapshot
      .split("\n")
      .map((line) => line.replace(/,$/, ""))
      .filter((line) => line.startsWith("{"));
  const vectors = (user: SignedIn) =>
    asOwner<{ text: string | null; model: string | null; error: string | null }>(
      "select embedding::text as text, model, last_error as error from private.memory_embeddings where user_id = $1 order by memory_id",
      [user.userId],
    );

  beforeAll(async () => {
    bob = await signUp(api, "bob");
    catalogueBefore = snapshotText(await catalogue());
    // pgvector is not a trusted extension everywhere.
    await withClient(db.adminUrl, (client) =>
      client.query("create extension if not exists vector with schema plinth"),
    );
    await enableMemoryVectors(target());
  });

  test("are no drift, and the command can be repeated", async () => {
    await enableMemoryVectors(target());
    const before = new Set(linesOf(catalogueBefore));
    const added = linesOf(snapshotText(await catalogue())).filter((line) => !before.has(line));
    expect(added).toEqual(linesOf(readFileSync(MEMORY_VECTORS_FILE, "utf8")));
    expect(await findingsOf(checkDrift)).toEqual([]);
    await asOwner("grant select on private.memory_embeddings to public", []);
    expect(await findingsOf(checkDrift)).toMatchObject([{ check: "drift-access", status: "fail" }]);
    await asOwner("revoke select on private.memory_embeddings from public", []);
  });

  test("are made by the job, for memories from before too, with the operator's key", async () => {
    await remember("My dog is called Rex", ada);
    expect((await vectors(ada)).map(({ text }) => text)).toEqual([null, null]);
    expect(await runJob()).toEqual({ embedded: 2, refused: 0, postponed: 0 });
    expect(endpoint.requests.at(-1)).toEqual({
      input: expect.arrayContaining(["Likes green tea", "My dog is called Rex"]),
      model: "small",
      key: "Bearer the-key",
    });
    expect(await vectors(ada)).toMatchObject([
      { text: "[1,0,0,0]", model: "small" },
      { text: "[0,1,0,0]", model: "small" },
    ]);
    expect(await runJob()).toEqual({ embedded: 0, refused: 0, postponed: 0 });
    expect(await findingsOf(checkMemories)).toEqual([]);
  });

  test("recall memories without a common word, of their user only, and each says why", async () => {
    await remember("Has a cat", bob);
    await runJob();
    expect(await recall("Which animals does she have? A pet animal?", ada)).toEqual([
      { memory: { text: "My dog is called Rex" }, reasons: ["meaning"], similarity: 1 },
    ]);
    expect(await textsOf("pet", bob)).toEqual(["Has a cat"]);
    expect(await recall("any dog?", ada)).toMatchObject([{ reasons: ["words", "meaning"], similarity: 1 }]);
  });

  test("are fused with words: a memory that both find comes first", async () => {
    await remember("Rex sleeps a lot", ada);
    await remember("The piano of Rex", ada);
    await runJob();
    expect((await textsOf("music of rex", ada))[0]).toBe("The piano of Rex");
    expect(await textsOf("music of rex", ada)).toHaveLength(3);
    expect(await textsOf("pet -rex", ada)).toEqual([]);
    expect(await textsOf('pet "called rex"', ada)).toEqual(["My dog is called Rex"]);
  });

  test("are deleted at once with a changed text and with their memory", async () => {
    const id = await remember("Plays the violin", bob);
    await runJob();
    await api.ask(
      "mutation ($id: UUID!) { updateMemory(input: { id: $id, importance: 5 }) { memory { id } } }",
      {
        token: bob.token,
        variables: { id },
      },
    );
    expect(await textsOf("instrument", bob)).toEqual(["Plays the violin"]);
    await api.ask(
      'mutation ($id: UUID!) { updateMemory(input: { id: $id, text: "Drinks coffee" }) { memory { id } } }',
      {
        token: bob.token,
        variables: { id },
      },
    );
    expect((await vectors(bob)).at(-1)).toMatchObject({ text: null, model: null });
    expect(await textsOf("instrument", bob)).toEqual([]);
    expect(await runJob()).toMatchObject({ embedded: 1 });
    expect(await textsOf("beverage", bob)).toEqual(["Drinks coffee"]);
    const count = (await vectors(bob)).length;
    await api.ask("mutation ($id: UUID!) { deleteMemory(input: { id: $id }) { id } }", {
      token: bob.token,
      variables: { id },
    });
    expect(await vectors(bob)).toHaveLength(count - 1);
    await asOwner("delete from private.user_keys where user_id = $1", [bob.userId]);
    expect(await vectors(bob)).toEqual([]);
  });

  test("of a changed text are not stored for the old one", async () => {
    const id = await remember("Drinks tea", bob);
    const [due] = await asWorker<{ content_digest: string }>(
      "select * from private.memories_to_embed('small', 10)",
      [],
    );
    await asOwner("update llm.memories set content = 'gAAAAABp' || repeat('A', 80) where id = $1", [id]);
    const store = "select private.store_memory_embedding($1, $2, 'small', '[1,0,0,0]') as stored";
    expect(await asWorker(store, [id, due!.content_digest])).toEqual([{ stored: false }]);
    // No key opens the altered text, so it is given up.
    expect(await runJob()).toEqual({ embedded: 0, refused: 1, postponed: 0 });
    await asOwner("delete from llm.memories where id = $1", [id]);
  });

  test("of another model are made again, and a server with the other model does not compare them", async () => {
    const other = await startApi(db, settings("large"));
    try {
      expect(await textsOf("animal", ada, other)).toEqual([]);
      expect(await runJob("large")).toMatchObject({ embedded: 4 });
      expect(await textsOf("animal", ada, other)).toEqual(["My dog is called Rex"]);
      expect(await textsOf("animal", ada)).toEqual([]);
    } finally {
      await other.close();
    }
    expect(await runJob()).toMatchObject({ embedded: 4 });
  });

  test("are not made of a text that the model rejects, and the others of the batch are", async () => {
    await remember("An unspeakable drink", bob);
    await remember("A drink", bob);
    endpoint.rejected = "unspeakable";
    expect(await runJob()).toEqual({ embedded: 1, refused: 1, postponed: 0 });
    endpoint.rejected = undefined;
    const requests = endpoint.requests.length;
    expect(await runJob()).toEqual({ embedded: 0, refused: 0, postponed: 0 });
    expect(endpoint.requests).toHaveLength(requests);
    expect(await textsOf("beverage", bob)).toEqual(["A drink"]);
  });

  test("wait while the endpoint fails, and words go on recalling memories", async () => {
    await remember("Another drink with milk", bob);
    endpoint.status = 503;
    expect(await runJob()).toEqual({ embedded: 0, refused: 0, postponed: 1 });
    expect(await runJob()).toEqual({ embedded: 0, refused: 0, postponed: 0 });
    expect(await textsOf("milk", bob)).toEqual(["Another drink with milk"]);
    expect(api.logLines).toContainEqual(
      expect.objectContaining({
        msg: expect.stringContaining("recalled by words only"),
        code: "EMBEDDINGS_FAILED",
      }),
    );
    expect(JSON.stringify(api.logLines)).not.toContain("milk");
    expect(await findingsOf(checkMemories)).toMatchObject([
      { status: "fail", details: ["1 memories: The endpoint answered with status 503."] },
    ]);
    endpoint.status = undefined;
    await asOwner("update private.memory_embeddings set next_attempt_at = now()", []);
    expect(await runJob()).toEqual({ embedded: 1, refused: 0, postponed: 0 });
    expect(await findingsOf(checkMemories)).toEqual([]);
  });

  test("are read by no role of the API", async () => {
    for (const role of ["service", "worker"] as const)
      await expect(
        withClient(db.url(role), (client) => client.query("select from private.memory_embeddings")),
      ).rejects.toMatchObject({ code: "42501" });
    await expect(
      asWorker("select private.nearest_memories($1, 'small', '[1]', '{}', '{}', 1)", [ada.userId]),
    ).rejects.toMatchObject({
      code: "42501",
    });
  });

  test("are deleted with the account, and left out of its export", async () => {
    const [query] = await asOwner<{ sql: string }>(
      `select private.data_export_query(s.table_oid, s.condition) as sql
       from private.data_export_sources() s where s.table_name = 'private.memory_embeddings'`,
      [],
    );
    expect(await asOwner(query!.sql, [ada.userId])).toHaveLength(4);
    expect(query!.sql).not.toContain("t.embedding");
    await asOwner("delete from identity.users where id = $1", [bob.userId]);
    expect(await vectors(bob)).toEqual([]);
  });

  test("are removed by the other command, without a trace, and come back", async () => {
    expect(await disableMemoryVectors(target())).toBe(true);
    const extension = /^\{"kind":"extension","name":"vector".*\n/m;
    expect(snapshotText(await catalogue()).replace(extension, "")).toBe(catalogueBefore);
    expect(await findingsOf(checkDrift)).toEqual([]);
    await remember("After the vectors", ada);
    expect(await textsOf("vectors", ada)).toEqual(["After the vectors"]);
    await enableMemoryVectors(target());
    expect(await runJob()).toMatchObject({ embedded: 5 });
  });

  test("do not prevent the rollback of the memories", async () => {
    const { applied } = await migrationStatus(target());
    const steps = applied.length - applied.findIndex((name) => name.endsWith("-memories.sql"));
    const { rolledBack } = await rollback({ ...target(), steps });
    expect(rolledBack.at(-1)).toMatch(/-memories\.sql$/);
  });
});
