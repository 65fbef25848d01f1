// The time of a move: generates a product's database with --users accounts, imports it, imports it again, and runs it dry. Prints for
// each table the rows a second, the statements a row and where the time goes: waiting for PostgreSQL, reading the source, or computing.
// --functions also prints the functions of the database that cost most. The ratios at the end compare the three runs.
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import pg from "pg";
import { emailHasherOn } from "../src/auth/email-storage.ts";
import { loadConfig } from "../src/config/config.ts";
import { openDatabase } from "../src/database/database.ts";
import { importSystem } from "../src/import/system/import-system.ts";
import { openSqlite } from "../src/import/system/sources/sqlite.ts";
import { SYSTEMS } from "../src/import/system/systems.ts";
import { fileUsers } from "../src/import/system/users/file-users.ts";
import { findMasterKeys } from "../src/start/key-settings.ts";
import { bringUpToDate } from "../src/start/up-to-date.ts";
import { countingClient, countingSource, createMeter, type Phase } from "./import-system/meter.ts";
import { generate, type SystemName } from "./import-system/sources.ts";

const { values: flags } = parseArgs({
  options: {
    system: { type: "string", default: "rovertchat" },
    users: { type: "string", default: "20000" },
    functions: { type: "boolean", default: false },
    only: { type: "boolean", default: false },
  },
});
const name = flags.system as SystemName;

const data = mkdtempSync(join(tmpdir(), "plinth-bench-"));
chmodSync(data, 0o711);
const config = loadConfig({ PLINTH_DATA: data });
const database = await openDatabase(config);
try {
  await bringUpToDate(config, database);
  const path = join(data, "source.db");
  generate(name, Number(flags.users), path);
  const admin = new pg.Client(database.adminUrl);
  const owner = new pg.Client(database.url("owner"));
  for (const client of [admin, owner]) {
    client.on("error", () => {}); // the server stops while it is connected if something below fails
    await client.connect();
  }
  // Only new connections see it.
  if (flags.functions) await admin.query("alter role all set track_functions = 'all'");
  const mapping = name === "users" ? fileUsers("bench") : await SYSTEMS[name]!();
  const masterKeys = findMasterKeys(config, database)!;

  async function run(title: string, dryRun: boolean): Promise<number> {
    const client = new pg.Client(database.url("owner"));
    await client.connect();
    const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
    const meter = createMeter(() => backendSeconds(rows[0]!.pid));
    const counting = countingClient(client, meter);
    const means = {
      client: counting,
      dryRun,
      masterKeys,
      isAllowedEndpoint: () => true,
      emailHash: "sha256",
      emailSalt: "",
    };
    const source = await openSqlite(path);
    const report = await importSystem({
      client: counting,
      source: countingSource(source, meter),
      mapping: (await mapping.forRun?.(means)) ?? mapping,
      emailHasher: emailHasherOn(counting, masterKeys),
      dryRun,
      onProgress: ({ step, done = 0 }) => meter.at(step, done),
    });
    await source.close();
    await client.end();
    if (!report.isVerified) throw new Error(`not verified: ${JSON.stringify(report.mismatches.slice(0, 3))}`);
    print(title, meter.phases());
    const rowsRead = report.tables.reduce((sum, table) => sum + table.rows, 0);
    const seconds = report.milliseconds / 1000;
    console.log(
      `${title}: ${rowsRead} rows in ${seconds.toFixed(1)} s, ${Math.round(rowsRead / seconds)} rows a second, at most ${meter.megabytes()} MB\n`,
    );
    for (const { relation, column, reason, count } of report.reasons.slice(0, 20))
      if (count > 10) console.log(`  ${relation}.${column ?? ""}: ${reason} (${count})`);
    return seconds;
  }

  const dry = flags.only ? Number.NaN : await run("dry run", true);
  const first = await run("import", false);
  const again = await run("import again", false);
  console.log(
    `Ratios to the import: again ${(again / first).toFixed(2)}, dry run ${(dry / first).toFixed(2)}.`,
  );
  if (flags.functions) {
    const { rows } = await admin.query<{ name: string; calls: string; self: number }>(
      `select schemaname || '.' || funcname as name, calls, self_time as self
       from pg_stat_user_functions order by self_time desc limit 15`,
    );
    for (const row of rows)
      console.log(
        `${row.name.padEnd(44)} ${row.calls.padStart(9)} calls ${row.self.toFixed(0).padStart(8)} ms`,
      );
  }
  await admin.end();
  await owner.end();
} finally {
  await database.close();
  rmSync(data, { recursive: true, force: true });
}

/** Processor time of a server process in seconds. */
function backendSeconds(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[0]) / 1e9;
}

/** Times on a machine that other work shares vary; the processor time of a row hardly does. */
function print(title: string, phases: readonly Phase[]): void {
  console.log(
    `${title.padEnd(36)}     rows   seconds  rows/s  statements/row  waits for SQL  reads  ms of CPU a row: PostgreSQL, Node`,
  );
  for (const phase of phases) {
    const rows = Math.max(phase.rows, 1);
    const share = (milliseconds: number) => `${Math.round((100 * milliseconds) / phase.milliseconds)} %`;
    console.log(
      [
        phase.step.padEnd(36),
        String(phase.rows).padStart(8),
        (phase.milliseconds / 1000).toFixed(2).padStart(9),
        String(Math.round((1000 * phase.rows) / phase.milliseconds)).padStart(7),
        (phase.statements / rows).toFixed(4).padStart(15),
        share(phase.sql).padStart(14),
        share(phase.reading).padStart(6),
        (phase.backend / rows).toFixed(3).padStart(28),
        (phase.process / rows).toFixed(3).padStart(5),
      ].join(" "),
    );
  }
}
