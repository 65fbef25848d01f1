import { shellBlocks } from "../../support/shell/pages.ts";
import type { Recipe } from "./recipe.ts";

// The pages whose commands run beside `npm start`, as on the reader's own machine: one after the other on one database.

/** The part of a JSON answer between the quotes after a key, in the output of the command before. */
const answer = (key: string) => `$(sed 's/.*"${key}":"\\([^"]*\\)".*/\\1/' "$LAST")`;

const GRAPHQL = "curl -s $URL/graphql -H 'content-type: application/json'";
const signIn = `TOKEN=$(${GRAPHQL} -d '{"query": "mutation { login(input: {identifier: \\"maria\\", password: \\"a sentence nobody guesses\\"}) { accessToken } }"}' |
  sed 's/.*"accessToken":"\\([^"]*\\)".*/\\1/')`;

export const MACHINE: readonly Recipe[] = [
  {
    page: "README.md",
    prints: {
      'curl -s http://127.0.0.1:5678/graphql -H "authorization': /"username":"maria","role":"user".*"models"/,
    },
  },
  {
    page: "docs/api.md",
    before: {
      "": signIn,
      'curl -s http://127.0.0.1:5678/graphql -H "authorization: Bearer $TOKEN"': `TOKEN=${answer("accessToken")}`,
      'curl -s http://127.0.0.1:5678/graphql -H "authorization: Bearer pla_…"': `API_TOKEN=${answer("token")} API_TOKEN_ID=${answer("id")}`,
      'curl -H "Authorization: Bearer $TOKEN" -o export.json': `ask() { ${GRAPHQL} -H "authorization: Bearer $TOKEN" -d "$1"; }
ask '{"query": "mutation { requestDataExport(input: {}) { result { id } } }"}' >request
ID=$(sed 's/.*"id":"\\([^"]*\\)".*/\\1/' request)
until ask '{"query": "{ dataExports { nodes { status } } }"}' | grep -q ready; do
  npx plinth jobs run write-data-exports >written || break
done`,
      "curl -s http://127.0.0.1:5678/graphql -H 'content-type: application/json' -d '{\n  \"documentId\"": `ME='{ currentUser { username } }'
HASH=$(printf '%s' "$ME" | sha256sum | cut -d ' ' -f 1)
psql -q "$(npx plinth db url --role owner)" -c "insert into private.persisted_documents (hash, document) values ('$HASH', '$ME')"`,
    },
    replace: {
      "FACTOR=…  SECRET=…": `FACTOR=${answer("factorId")} SECRET=${answer("secret")}`,
      // The next code, so that the test need not wait for its half minute.
      "CHALLENGE=plc_…  CODE=…": `CHALLENGE=${answer("token")} CODE=$(node -p "new (require('otpauth').TOTP)({ secret: '$SECRET' }).generate({ timestamp: Date.now() + 30000 })")`,
      "2027-01-31T00:00:00Z": new Date(Date.now() + 60 * 86_400_000).toISOString(),
      "Bearer pla_…": "Bearer $API_TOKEN",
      "01a1…": "'$API_TOKEN_ID'",
      'sha256:…"': `sha256:'$HASH'"`,
      '"sha256Hash": "…"': `"sha256Hash": "${"0".repeat(64)}"`,
    },
    prints: {
      'graphql \'{"query": "mutation { completeSignIn': /"username":"maria"/,
      'curl -s http://127.0.0.1:5678/graphql -H "authorization: Bearer pla_…"': /"username":"maria"/,
      "curl -s http://127.0.0.1:5678/graphql -H 'content-type: application/json' -d '{\n  \"documentId\"":
        /"currentUser":null/,
      "curl -s http://127.0.0.1:5678/graphql -H 'content-type: application/json' -d '{\n  \"extensions\"":
        /PersistedQueryNotFound/,
    },
  },
  {
    page: "docs/billing.md",
    prints: {
      'ask \'{"query": "{ currentUser { tier } currentSubscription':
        /"tier":"premium".*"status":"active".*"succeeded".*"available":"2000000"/,
      'psql "$(npx plinth db url --role service)" -c "select charged_tokens': /400 \| 0\.003930000000/,
      'ask \'{"query": "{ currentUser { tier } tokenBalance': /"tier":"free".*"available":"50000"/,
    },
  },
  {
    page: "docs/operations.md",
    commands: /plinth jobs run/,
    before: {
      // Its own schedule, each quarter of an hour, would take the place of the run.
      "npx plinth jobs run refresh-content-popularity": `OWNER=$(npx plinth db url --role owner)
psql -q "$OWNER" -c "delete from plinth_jobs.schedule where name = 'refresh-content-popularity'"
waiting() { psql -At "$OWNER" -c "select count(*) from plinth_jobs.job where name in ('refresh-content-popularity', '__pgboss__send-it') and state in ('created', 'retry', 'active')"; }
until [ "$(waiting)" = 0 ]; do sleep 0.2; done`,
    },
  },
  { page: "docs/compatibility.md" },
  { page: "examples/notebook/README.md", services: /start\.ts/ },
  { page: "examples/web-chat/README.md", services: /start\.ts/ },
  {
    page: "examples/refresh-in-curl/README.md",
    replace: {
      "./examples/refresh-in-curl/plinth.sh sign-in ada": `echo "$ADA" | ./examples/refresh-in-curl/plinth.sh sign-in ada`,
    },
    prints: { "./examples/refresh-in-curl/plinth.sh ask": /"username":"ada"/ },
  },
  {
    page: "docs/operations.md",
    commands: /PLINTH_BACKUPS|^npx plinth (backup|restore)/,
    before: {
      // The first backup begins with the server, and one is made at a time.
      "npx plinth backup --label": `until npx plinth backup list | grep -q verified && [ ! -e "$BACKUPS/backup.lock" ]; do sleep 0.2; done`,
      "npx plinth backup point": `node -p "new Date().toISOString()" >now; sleep 0.01`,
      "npx plinth restore --to before-import":
        "kill $SERVER; while kill -0 $SERVER 2>/dev/null; do sleep 0.05; done",
    },
    replace: {
      "/mnt/backups": "$BACKUPS",
      "PLINTH_BACKUP_KEY=…": "PLINTH_BACKUP_KEY=$BACKUP_KEY",
      "2026-11-30T02:15:00Z": "$(cat now)",
    },
    hasExampleNumbers: true,
  },
];

/** `npm start` on these pages, with the settings in front of it: one server runs for all. */
export const START = /(?:^|&& )((?:[A-Z_]+=\S+ )*)npm start\b/;

/** The settings with which the pages start it. */
export function startSettings(): Record<string, string> {
  const starts = MACHINE.flatMap(({ page }) => shellBlocks(page))
    .flatMap(({ commands }) => commands)
    .map(({ text }) => START.exec(text)?.[1] ?? "");
  return Object.fromEntries(
    starts
      .flatMap((settings) => settings.trim().split(" ").filter(Boolean))
      .map((each) => each.split("=") as [string, string]),
  );
}
