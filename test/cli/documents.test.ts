import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { documentHash } from "../../src/documents/document-hash.ts";
import { makeFolder } from "../import/files.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";
import { cli, databaseEnv } from "./run-cli.ts";

// The commands of docs/documents.md.

const VIEWER = "query Viewer {\n  currentUser {\n    username\n  }\n}";
const OTHER = "query Other { currentUser { id } }";

let db: TestDatabase;
let env: Record<string, string>;
let folder: Awaited<ReturnType<typeof makeFolder>>;
beforeAll(async () => {
  db = await createTestDatabase();
  env = databaseEnv(db);
  folder = await makeFolder();
});
afterAll(async () => {
  await db.drop();
  await folder.remove();
});
const asOwner = rowsAs("owner", () => db);
beforeEach(async () => {
  await asOwner("delete from private.persisted_documents");
});

const documents = (...args: string[]) => cli(["documents", ...args], { env });
const stored = async () =>
  (await asOwner("select document from private.persisted_documents order by document")).map(
    ({ document }) => document,
  );

test("adds the operations of .graphql files with fragments of other files, and changes nothing the second time", async () => {
  const files = [
    await folder.write("viewer.graphql", "query Viewer { currentUser { ...Name } }"),
    await folder.write("name.gql", "fragment Name on User { username }"),
  ];
  const text =
    "query Viewer {\n  currentUser {\n    ...Name\n  }\n}\n\nfragment Name on User {\n  username\n}";
  const hash = documentHash(text);
  expect(await documents("add", ...files)).toEqual({
    code: 0,
    stdout: `${hash}  Viewer\n`,
    stderr: "1 added, 0 unchanged\n",
  });
  const before = await asOwner("select * from private.persisted_documents");
  const { code, stdout } = await documents("add", ...files, "--json");
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toEqual({
    documents: [{ hash, operations: ["Viewer"], isNew: false }],
    faults: [],
  });
  expect(await asOwner("select * from private.persisted_documents")).toEqual(before);
  expect(before).toEqual([{ hash, document: text, added_at: expect.any(Date) }]);
});

test("adds the documents of manifests exactly as they are", async () => {
  const apollo = await folder.write(
    "apollo.json",
    JSON.stringify({
      format: "apollo-persisted-query-manifest",
      version: 1,
      operations: [{ id: documentHash(VIEWER), name: "Viewer", type: "query", body: VIEWER }],
    }),
  );
  const relay = await folder.write(
    "relay.json",
    JSON.stringify({ [documentHash(OTHER)]: OTHER, [documentHash(VIEWER)]: VIEWER }),
  );
  expect((await documents("add", apollo, relay)).code).toBe(0);
  expect(await stored()).toEqual([VIEWER, OTHER].sort());
});

test("stores nothing if any document is not valid, and names each with its reason", async () => {
  const good = await folder.write("good.graphql", "query Good { currentUser { username } }");
  const bad = await folder.write(
    "bad.graphql",
    "query NoField { currentUser { secret } }  query NoFragment { currentUser { ...Nowhere } }",
  );
  const forged = await folder.write(
    "forged.json",
    JSON.stringify({ [documentHash(OTHER)]: VIEWER, md5: OTHER }),
  );
  const long = `query Long { currentUser { username } } #${"x".repeat(1_000_000)}`;
  const oversize = await folder.write("oversize.json", JSON.stringify({ [documentHash(long)]: long }));
  const { code, stdout, stderr } = await documents("add", good, bad, forged, oversize);
  expect([code, stdout]).toEqual([1, ""]);
  const lines = stderr.trim().replaceAll(`${folder.path}/`, "").split("\n");
  expect(lines.sort()).toEqual(
    [
      'rejected: bad.graphql: NoField: Cannot query field "secret" on type "User".',
      'rejected: bad.graphql: NoFragment: Unknown fragment "Nowhere".',
      `rejected: forged.json: ${documentHash(OTHER)}: The id is not the SHA-256 of the text.`,
      "rejected: forged.json: md5: The id is not a SHA-256. Let the client's tool use SHA-256: `algorithm` in Relay's persistConfig, `hashAlgorithm` in graphql-codegen's persistedDocuments.",
      `rejected: oversize.json: ${documentHash(long)}: The document has more than 1000000 characters.`,
      "error: Nothing was stored, because documents were rejected.",
      "hint: Correct the files. If they are right, compare the schema: migrations/schema/schema.graphql.",
    ].sort(),
  );
  expect(await stored()).toEqual([]);
  const asJson = await documents("add", bad, "--json");
  expect(asJson.code).toBe(1);
  expect(JSON.parse(asJson.stdout)).toMatchObject({ documents: [], faults: [{}, {}] });
});

test("applies the servers' limits of a query", async () => {
  const wide = `query Wide { ${Array.from({ length: 11 }, (_, i) => `a${i}: currentUser { id }`).join(" ")} }`;
  const file = await folder.write("wide.graphql", wide);
  expect((await documents("add", file)).code).toBe(1);
  const lenient = { ...env, PLINTH_LIMIT_ROOT_FIELDS: "11" };
  expect((await cli(["documents", "add", file], { env: lenient })).code).toBe(0);
});

test.each<[string, string, string | Buffer | undefined, string]>([
  ["a missing file", "missing.graphql", undefined, "does not exist"],
  ["another type of file", "schema.ts", "export {}", "neither a .graphql file nor a .json manifest"],
  ["bytes that are not UTF-8", "latin1.graphql", Buffer.from([0x7b, 0xff, 0x7d]), "is not UTF-8 text"],
  ["only fragments", "only.graphql", "fragment Name on User { username }", "contain no operation"],
])("rejects %s in a sentence", async (_what, name, content, sentence) => {
  const path = content === undefined ? `${folder.path}/${name}` : await folder.write(name, content);
  const { code, stdout, stderr } = await documents("add", path);
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toContain(sentence);
  expect(stderr).not.toContain("Please report it");
});

test("list shows the documents, and fails if the schema no longer accepts one", async () => {
  const file = await folder.write("list.graphql", "query Listed { currentUser { username } }");
  await documents("add", file);
  const [{ hash, document }] = await asOwner("select hash, document from private.persisted_documents");
  expect(await documents("list")).toEqual({ code: 0, stdout: `${hash}  Listed\n`, stderr: "" });

  const gone = "query Gone { currentUser { nickname } }";
  await asOwner("insert into private.persisted_documents (hash, document) values ($1, $2)", [
    documentHash(gone),
    gone,
  ]);
  const reason = 'Cannot query field "nickname" on type "User". Did you mean "username"?';
  const { code, stdout, stderr } = await documents("list");
  expect(code).toBe(1);
  expect(stdout).toContain(`${documentHash(gone)}  Gone  ${reason}`);
  expect(stderr).toBe(
    "error: The schema no longer accepts a document.\nhint: Add the clients' new documents, and remove these with plinth documents remove.\n",
  );
  const asJson = await documents("list", "--json");
  expect(JSON.parse(asJson.stdout).documents).toEqual([
    { hash, text: document, addedAt: expect.any(String), operations: ["Listed"], errors: [] },
    {
      hash: documentHash(gone),
      text: gone,
      addedAt: expect.any(String),
      operations: ["Gone"],
      errors: [reason],
    },
  ]);
});

test("remove removes all of the named documents or none", async () => {
  const file = await folder.write("two.graphql", `${VIEWER} ${OTHER}`);
  await documents("add", file);
  const hashes = (await asOwner("select hash from private.persisted_documents")).map(({ hash }) => hash);
  for (const unknown of [documentHash("x"), "__proto__"]) {
    const { code, stdout, stderr } = await documents("remove", hashes[0], unknown);
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toContain(
      `No document has the hash ${unknown}; none was removed.\nhint: plinth documents list`,
    );
    expect(await stored()).toHaveLength(2);
  }
  expect(await documents("remove", `sha256:${hashes[0]}`, hashes[0])).toMatchObject({
    code: 0,
    stdout: "Removed 1 document.\n",
  });
  const { stdout } = await documents("remove", hashes[1], "--json");
  expect(JSON.parse(stdout)).toEqual({ removed: [hashes[1]] });
  expect(await stored()).toEqual([]);
});

test.each([["add"], ["remove"]])("%s without arguments is wrong usage", async (command) => {
  expect((await documents(command)).code).toBe(2);
});
