import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

/** Files that open connections without DatabaseClient, each with its reason. */
const EXCEPTIONS: Readonly<Record<string, string>> = {
  "backup/base-backup.ts": "Backups are of the embedded server, whose replication connection no pooler sees.",
  "connection/choose-way.ts": "It tries one host after the other for DatabaseClient.",
  "connection/client.ts": "It is DatabaseClient.",
};

const source = join(PACKAGE_ROOT, "src");
const files = readdirSync(source, { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => file.endsWith(".ts"))
  .map((file) => [file, readFileSync(join(source, file), "utf8")] as const);

test("connections are opened with DatabaseClient, except by files with a reason", () => {
  const opening = files.filter(
    ([, text]) =>
      /new (pg\.)?Client\(/.test(text.replaceAll(/new Client\(stripe/g, "")) ||
      (text.match(/new (pg\.)?Pool\(/g) ?? []).length > (text.match(/Client: DatabaseClient,/g) ?? []).length,
  );
  expect(opening.map(([file]) => file).sort()).toEqual(Object.keys(EXCEPTIONS).sort());
});

test("no connection sends a timeout as a startup parameter, which PgBouncer rejects", () => {
  const PARAMETER =
    /^\s*(statement_timeout|lock_timeout|idle_in_transaction_session_timeout|options): \w*(TIMEOUT|\d)/m;
  expect(files.filter(([, text]) => PARAMETER.test(text)).map(([file]) => file)).toEqual([]);
});
