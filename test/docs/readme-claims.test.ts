import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

// Each claim of the README that no figure or program holds (readme.test.ts) names a test, with its title, or an object of the schema.
// A renamed test, a dropped table or a new phrase in the table of alternatives fails here.

const read = (path: string) => readFileSync(join(PACKAGE_ROOT, path), "utf8");
const readme = read("README.md");
const prose = readme.replaceAll("\n", " ");

/** `test/file.test.ts: title`, or an object of migrations/schema. */
type Evidence = readonly string[];

const PHRASES: Readonly<Record<string, Evidence>> = {
  "the product's tables": [
    "llm.messages",
    "billing.user_subscriptions",
    "rooms.chat_rooms",
    "learning.content_items",
  ],
  policies: ["test/schema/policy-mutation.test.ts: every table with a policy has probes, and they pass"],
  functions: ["access.has_permission", "identity.logout"],
  "one `npm start` without Docker": [
    "test/cli/start.test.ts: creates a database with demo data at the first start and says how to sign in",
  ],
  accounts: ["identity.users"],
  "sign-in": ["test/server/sign-in.test.ts"],
  billing: ["test/billing/plan-to-message.test.ts"],
  "rules that also hold in `psql`": [
    "test/schema/policy-mutation.test.ts: the probes detect every broken policy",
  ],
  "second factors": [
    "test/server/second-factor.test.ts: is enrolled, requested at the next sign-in, and completes it",
  ],
  passkeys: ["test/server/second-factor.test.ts: signs in on its own, without a challenge"],
  "API tokens": ["test/server/api-tokens.test.ts: is shown once, acts as its owner"],
  chats: ["llm.chats"],
  rooms: ["rooms.chat_rooms"],
  courses: ["learning.content_items"],
  erasure: ["test/deletion/erasure.test.ts: counts exactly what one statement deleted"],
  audit: ["test/audit/chain.test.ts: finds altered and deleted commitments, blocks and tails"],
  "PostGraphile 5": ['package.json: "postgraphile": "5.'],
  PostgreSQL: ["test/versions/main-flow.test.ts: migrates as an owner without rights on the server"],
  "several servers on one database": [
    "test/deploy/side-by-side.test.ts: loses no acknowledged write and runs each job once",
  ],
  "SQL migrations": ["test/database/migrate.test.ts"],
  GraphQL: ["test/graphql/every-field.test.ts"],
};

/** Only of the last row, whose claim is about the reader's work. */
const OF_THE_READER = "months of work on sign-in, access, deletion and billing, with their tests";

const SENTENCES: Readonly<Record<string, Evidence>> = {
  "Every rule is in the database, so the API, a job and `psql` obey the same ones": [
    "test/schema/roles.test.ts: no role except the owner owns objects in the database",
  ],
  "a test breaks each policy and grant in every way it knows, and fails unless a statement notices the difference":
    [
      "test/schema/policy-mutation.test.ts: the probes detect every broken policy, disabled row security and swapped rights of a view",
      "test/schema/grant-mutation.test.ts: an attempt notices each grant on a table, column, view or function",
    ],
  "in production Plinth runs on any stock PostgreSQL 15 or newer, without a superuser": [
    "test/versions/main-flow.test.ts: migrates as an owner without rights on the server",
  ],
  "On Linux, npm installs the right Node 24 in a clone": [
    "test/cli/launcher.test.ts: starts the package's own Node if started with an older one",
  ],
  "The operation has the types of its result": [
    "test/client/types.test.ts: client/schema matches the GraphQL schema",
  ],
  "its tokens are reserved before and charged after": [
    "test/answerer/answerer.test.ts: reserves tokens before, and returns the same answer for the same key",
    "test/answerer/answerer.test.ts: the ledger has the usage that the provider reported",
  ],
  "only Ada can read it": [
    "test/llm/access.test.ts: are visible only to their owner, not even to administrators",
  ],
  "a local echo answers": ["test/cli/start.test.ts: answers a chat with the local echo, as the banner says"],
  "creates an application with a table, a policy, a plugin, a job and a test": [
    "test/package/extend.test.ts: ran all tests of the application and its migrations",
  ],
  "Plinth also runs [inside your own server]": [
    "test/mount/frameworks.test.ts: answers operations with the headers of the API",
  ],
  "`npx plinth import system` moves the users of an existing product with their passwords and data": [
    "test/systems/headphone-import.test.ts",
    "test/server/imported-passwords.test.ts",
  ],
  "its queries keep running while you replace them": ["test/systems/headphone-compat.test.ts"],
  "documented views without names, addresses or texts": [
    "test/security/analyst-views.test.ts: views of analytics show no text, name, token or whole address of any table",
  ],
  "exact unread counts": [
    "test/rooms/unread.property.test.ts: keeps unread and mention counts exact at every moment and afterwards",
  ],
  "closed to every API role": [
    "test/schema/catalogue.test.ts: keeps private tables without policies and grants",
  ],
  "No role is a superuser, and only the owner bypasses row-level security": [
    "test/schema/roles.test.ts: no role is a superuser, bypasses row security, creates databases or replicates",
  ],
  "so several Plinths can share a server": [
    "test/database/bootstrap.test.ts: can run several times at once, in one database and in two",
  ],
  "log in for the API and become one of the next two; it owns and reads nothing itself": [
    "test/schema/roles.test.ts: can become only a visitor or a user",
  ],
  "become `plinth_anonymous` and `plinth_user` to explain access": [
    "test/database/bootstrap.test.ts: lets the owner become anonymous and user, to explain their access, and no other role",
  ],
  "The exit code is 0 for success, 1 for a problem that you can fix (the message says how), and 2 for wrong usage":
    [
      "test/cli/usage.test.ts: of the program lists the exit codes",
      "test/cli/usage.test.ts: wrong usage exits with 2, writes to stderr and writes nothing to stdout",
    ],
};

/** The cells of the last column of the table, as phrases. */
function phrases(): string[] {
  const section = readme.slice(readme.indexOf("\n## Alternatives\n")).split(/\n## /)[1]!;
  const cells = [...section.matchAll(/^\| .*\| ([^|]+) \|$/gm)].map(([, cell]) => cell!).slice(1);
  return cells
    .filter((cell) => !/^-+$/.test(cell) && cell !== OF_THE_READER)
    .flatMap((cell) => cell.split(/[,;] | and /))
    .map((phrase) => phrase.trim());
}

function faultOf(evidence: string): string | undefined {
  const [path = "", title] = evidence.split(/: (.*)/s);
  if (/\.(ts|json)$/.test(path)) {
    if (!existsSync(join(PACKAGE_ROOT, path))) return `${path} does not exist`;
    return title === undefined || read(path).includes(title) ? undefined : `${path} has no "${title}"`;
  }
  const [schema] = path.split(".");
  const declared = new RegExp(
    `^create (or replace )?(table|view|function) ${path.replace(".", "\\.")}\\b`,
    "im",
  );
  return declared.test(read(`migrations/schema/${schema}.sql`)) ? undefined : `${path} is not in the schema`;
}

describe("each phrase of what Plinth adds", () => {
  test("has its evidence", () => {
    expect([...new Set(phrases())].sort()).toEqual(Object.keys(PHRASES).sort());
  });

  test.each(Object.entries(PHRASES))("%s", (_phrase, evidence) => {
    expect(evidence.flatMap((each) => faultOf(each) ?? [])).toEqual([]);
  });
});

describe("each claim of the prose is in the README and has its evidence:", () => {
  test.each(Object.entries(SENTENCES))("%s", (claim, evidence) => {
    expect(prose).toContain(claim);
    expect(evidence.flatMap((each) => faultOf(each) ?? [])).toEqual([]);
  });
});

test("evidence that is gone is found", () => {
  expect(faultOf("test/cli/start.test.ts: a title of yore")).toMatch(/has no/);
  expect(faultOf("test/cli/none.test.ts")).toMatch(/does not exist/);
  expect(faultOf("llm.none")).toMatch(/not in the schema/);
});

test("what Plinth lacks is not in its schema", () => {
  expect(prose).toContain("if you need hosting, file storage, organizations with separate tenants");
  expect(read("migrations/schema/catalogue.json")).not.toMatch(
    /"(\w+\.)?(organi[sz]ations?|tenants?|files|buckets)"/i,
  );
});
