import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../../../src/support/paths.ts";
import { withIds } from "../../support/access-probes/ids.ts";
import { SEED } from "../../support/access-probes/seed.ts";
import { fenced, fileOf, type Recipe } from "./recipe.ts";

// The pages whose commands run on a migrated database of their own, as on an external server.

const ACCOUNTS = `
  insert into identity.users (username, email, email_verified_at) values
    ('ada', 'ada@example.com', now()), ('noor', 'noor@example.com', now());
  insert into access.user_roles (user_id, role_id)
    select u.id, r.id from identity.users u, access.roles r where r.role_name = 'user'`;

const fixture = (path: string) => readFileSync(join(PACKAGE_ROOT, path), "utf8");
const CHATGPT = () => ({ "conversations.json": fixture("test/import/fixtures/chats/chatgpt.json") });
const MARIA = "01a228fd-09cc-7491-9353-0119e46b70c0";

/** The account that the certificate of docs/privacy.md is about. */
const SUBJECT = "0190f000-0000-7000-8000-000000000001";

/** Prints what a server publishes at /.well-known/jwks.json. */
const PRINT_JWKS = `
  import { publicKeySet } from ${JSON.stringify(new URL("../../../src/auth/jwks.ts", import.meta.url).href)};
  import { parseSigningKeys } from ${JSON.stringify(new URL("../../../src/auth/signing-keys.ts", import.meta.url).href)};
  console.log(JSON.stringify(publicKeySet(parseSigningKeys(process.env.PLINTH_JWT_KEYS))));`;

export const DATABASE: readonly Recipe[] = [
  {
    page: "docs/access.md",
    commands: /^npx plinth access|^psql/,
    files: () => ({
      "model.conf": fileOf("docs/access.md", "model.conf"),
      "policy.csv": fileOf("docs/access.md", "policy.csv"),
      "office.conf": fileOf("docs/access.md", "office.conf"),
      "office.csv": fileOf("docs/access.md", "office.csv"),
      "more.csv": "p, editor, invoice:*, read\n",
      "bad.conf": fileOf("docs/access.md", "model.conf").replace("keyMatch(", "keyMatch9("),
      "bad.csv": "p, editor, report:*, read\np, (r.sub, x, y\n",
    }),
    before: {
      "": `ID=$(npx plinth user create maria --email maria@example.com --generate-password 2>&1 | grep -oE '[0-9a-f-]{36}' | head -1)
sed -i "s/${MARIA}/$ID/" policy.csv`,
    },
    replace: { [MARIA]: "$ID" },
    codes: { "npx plinth access check --model bad.conf": 1 },
  },
  {
    page: "docs/access.md",
    commands: /explain-access/,
    sql: withIds(SEED),
    codes: { "npx plinth explain-access": 1 },
  },
  { page: "docs/analytics.md" },
  {
    page: "docs/audit.md",
    sql: ACCOUNTS,
    before: {
      // The job closes blocks each minute. Only the owner can alter a row.
      "": `OWNER=$(npx plinth db url --role owner)
psql -q "$OWNER" -c "select private.close_audit_block()"
npx plinth audit anchor --output anchors.jsonl
psql -q "$OWNER" -c "alter table security.audit_trail disable trigger user" \\
  -c "update security.audit_trail set table_name = 'elsewhere' where id = (select id from security.audit_trail order by id desc limit 1)" \\
  -c "alter table security.audit_trail enable trigger user"`,
    },
    codes: { "npx plinth audit verify": 1 },
    hasExampleNumbers: true,
  },
  {
    page: "docs/chat.md",
    sql: `${ACCOUNTS};
      insert into llm.chats (user_id, title) select id, 'Columns' from identity.users where username = 'ada'`,
    files: CHATGPT,
  },
  {
    page: "docs/importing.md",
    sql: ACCOUNTS,
    files: () => ({
      ...CHATGPT(),
      "models/alpha.json": fixture("test/import/fixtures/models/alpha.json"),
      "prompts.csv": fixture("test/import/fixtures/prompts.csv"),
      "content.ndjson": fenced("docs/learning.md", "json"),
    }),
    replace: { "FILE.csv": "prompts.csv", "FILE.ndjson": "content.ndjson", " DIR ": " models " },
  },
  {
    page: "docs/learning.md",
    files: () => ({ "curriculum.ndjson": fenced("docs/learning.md", "json") }),
  },
  { page: "docs/live.md", replace: { "pg_sleep(10)": "pg_sleep(0.1)" } },
  {
    page: "docs/models.md",
    sql: "insert into llm.model_providers (name, api_url, auth_type) values ('openai', 'https://api.openai.com/v1', 'api_key')",
    files: () => ({ "key.txt": "sk-of-the-provider\n" }),
  },
  {
    page: "docs/operations.md",
    commands: /schema check --live|mend\.sql|^npx plinth (doctor|maintenance)/,
    sql: "drop policy select_own on identity.users",
    codes: { "npx plinth schema check --live >": 1 },
  },
  { page: "docs/replicas.md" },
  {
    // docs/backups.md has the command for certificates, too.
    page: "docs/privacy.md",
    sql: `${ACCOUNTS};
      insert into identity.users (id, username) values ('${SUBJECT}', 'joan')`,
    before: {
      "npx plinth privacy erase --from-certificates": `mkdir -p backups/erasures
npx plinth privacy erase joan >erased
ID=$(grep -oE '[0-9a-f-]{36}' erased | head -1)
npx plinth privacy certificate $ID >backups/erasures/$ID.jws`,
      // Her name is free again.
      "npx plinth privacy hold ada --reason":
        "npx plinth user create ada --email ada@example.com --generate-password",
      "npx plinth privacy verify certificate.jws --jwks": "node jwks.mjs >jwks.json",
    },
    files: () => ({ "jwks.mjs": PRINT_JWKS }),
    replace: {
      "certificate ID": "certificate $ID",
      "https://api.example.com/.well-known/jwks.json": "data:application/json,$(cat jwks.json)",
    },
  },
  { page: "docs/roles.md", sql: ACCOUNTS },
];
