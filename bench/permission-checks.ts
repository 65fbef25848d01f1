// The cost of the functions that policies call, as a ratio to the same functions without their one plan for all calls: each
// connection would plan its first five calls again. Interleaved in one process; the pages are those of one warm call.
// Targets: at most 0.3 for calls 2 to 6 of a connection, at most 1.1 later.
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { loadConfig } from "../src/config/config.ts";
import { roleName } from "../src/config/roles.ts";
import { openDatabase } from "../src/database/database.ts";
import { bringUpToDate } from "../src/start/up-to-date.ts";
import { percentile } from "./support.ts";

const ROUNDS = 9;
const CALLS = 12;
const ACCOUNTS = 2_000;

const data = mkdtempSync(join(tmpdir(), "plinth-bench-"));
chmodSync(data, 0o711);
const config = loadConfig({ PLINTH_DATA: data });
const database = await openDatabase(config);
try {
  await bringUpToDate(config, database);
  const owner = new pg.Client(database.url("owner"));
  owner.on("error", () => {}); // the server stops while it is connected if something below fails
  await owner.connect();
  const { rows } = await owner.query<{ id: string }>(
    "select private.register_user('bench' || i, null, null, $2, 'argon2id') as id from generate_series(1, $1) i",
    [ACCOUNTS, "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo"],
  );
  const { id: user } = rows[0]!;
  const functions = { has_permission: "'manage_users'", usable_model_ids: "" };
  for (const name of Object.keys(functions)) {
    const { rows: found } = await owner.query<{ text: string }>(
      "select pg_get_functiondef(oid) as text from pg_proc where pronamespace = 'access'::regnamespace and proname = $1",
      [name],
    );
    const text = found[0]!.text.replace(`access.${name}`, `access.${name}_planned`);
    await owner.query(text.replace(/ SET plan_cache_mode TO \S+/, ""));
  }
  await owner.query(
    `grant execute on all functions in schema access to ${roleName(config.rolePrefix, "user")}`,
  );

  /** Milliseconds and pages of each call of a new connection. */
  async function callsOf(call: string): Promise<{ ms: number; pages: number }[]> {
    const client = new pg.Client(database.url("authenticator"));
    client.on("error", () => {});
    await client.connect();
    await client.query(
      `set role ${roleName(config.rolePrefix, "user")}; set "jwt.claims.user_id" = '${user}'`,
    );
    const calls = [];
    for (let i = 0; i < CALLS; i++) {
      const { rows } = await client.query(
        `explain (analyze, buffers, timing off, format json) select access.${call}`,
      );
      const [{ Plan: plan, "Execution Time": ms }] = rows[0]["QUERY PLAN"];
      calls.push({ ms, pages: plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] });
    }
    await client.end();
    return calls;
  }

  for (const [name, argument] of Object.entries(functions)) {
    const [now, planned] = [[], []] as [{ ms: number; pages: number }[][], { ms: number; pages: number }[][]];
    for (let round = 0; round < ROUNDS; round++) {
      now.push(await callsOf(`${name}(${argument})`));
      planned.push(await callsOf(`${name}_planned(${argument})`));
    }
    const time = (runs: typeof now, from: number, to: number) =>
      percentile(
        runs.flatMap((run) => run.slice(from, to).map(({ ms }) => ms)),
        0.5,
      );
    const ratio = (from: number, to: number) => (time(now, from, to) / time(planned, from, to)).toFixed(2);
    console.log(
      `${name}: calls 2 to 6 ${ratio(1, 6)}, later ${ratio(6, CALLS)}; ${now.at(-1)!.at(-1)!.pages} pages, ${planned.at(-1)!.at(-1)!.pages} planned`,
    );
  }
  await owner.end();
} finally {
  await database.close();
  rmSync(data, { recursive: true, force: true });
}
