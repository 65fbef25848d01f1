// The cost of the audit trail: the time of an update with its trigger as a ratio to the same update without, for a setting that is
// recorded and for the counters of a sign-in, which are not; and the cost of committing to the row of the trail. Each update has its own transaction, as in the API.
// Targets with a durable commit: under 2 when recorded, under 1.3 when not.
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { loadConfig } from "../src/config/config.ts";
import { openDatabase } from "../src/database/database.ts";
import { bringUpToDate } from "../src/start/up-to-date.ts";
import { percentile } from "./support.ts";

const ROUNDS = 6;
const UPDATES = 300;
const ACCOUNTS = 500;

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
  const ids = rows.map(({ id }) => id);

  /** Median milliseconds of one update. */
  async function time(sql: string): Promise<number> {
    const times: number[] = [];
    for (let i = 0; i < UPDATES; i++) {
      const started = performance.now();
      await owner.query(sql, [ids[i % ids.length], i]);
      times.push(performance.now() - started);
    }
    return percentile(times, 0.5);
  }

  const setting =
    "update identity.user_settings set display_name = 'n' || $2::integer || random() where user_id = $1";
  const cases = {
    "a setting, recorded": ["identity.user_settings", "_700_record_data_change", setting],
    "a setting, recorded and committed to": ["security.audit_trail", "_800_commit_audit_row", setting],
    "a sign-in's counters, not recorded": [
      "identity.users",
      "_700_record_data_change",
      "update identity.users set failed_login_attempts = $2::integer, last_login_at = clock_timestamp() where id = $1",
    ],
  } as const;
  // Also measures without waiting for the disk, because the wait hides most of the difference.
  for (const commit of ["on", "off"])
    for (const [name, [table, trigger, sql]] of Object.entries(cases)) {
      await owner.query(`set synchronous_commit = ${commit}`);
      const measured = { with: [] as number[], without: [] as number[] };
      await time(sql); // warm-up
      for (let round = 0; round < ROUNDS; round++)
        for (const kind of ["with", "without"] as const) {
          await owner.query(
            `alter table ${table} ${kind === "with" ? "enable" : "disable"} trigger ${trigger}`,
          );
          measured[kind].push(await time(sql));
        }
      await owner.query(`alter table ${table} enable trigger ${trigger}`);
      const [on, off] = [percentile(measured.with, 0.5), percentile(measured.without, 0.5)];
      console.log(
        `${name.padEnd(36)} durable ${commit.padEnd(3)}  with ${on.toFixed(3)} ms  without ${off.toFixed(3)} ms  ratio ${(on / off).toFixed(2)}`,
      );
    }
  await owner.end();
} finally {
  await database.close();
  rmSync(data, { recursive: true, force: true });
}
