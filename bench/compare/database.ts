import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { type Config, loadConfig } from "../../src/config/config.ts";
import { type Database, openDatabase } from "../../src/database/database.ts";
import { bringUpToDate } from "../../src/start/up-to-date.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { seed } from "./seed.ts";

/** Names the data by everything that shapes it, so that a changed migration or seed fills a new database. */
function seedKey(): string {
  const hash = createHash("sha256");
  for (const file of ["./seed.ts", "../bare-ledger.ts"])
    hash.update(readFileSync(new URL(file, import.meta.url)));
  const committed = join(PACKAGE_ROOT, "migrations/committed");
  for (const file of readdirSync(committed).sort()) hash.update(readFileSync(join(committed, file)));
  return hash.digest("hex").slice(0, 12);
}

export interface SeededDatabase {
  readonly config: Config;
  readonly database: Database;
  /** Environment for a Plinth process on the same data. */
  readonly env: Record<string, string>;
  /** Process id of the server, whose children are its backends. */
  readonly postmaster: number;
}

/** Opens the seeded database in `folder`, filling it the first time. */
export async function openSeeded(folder = join(tmpdir(), "plinth-bench")): Promise<SeededDatabase> {
  const data = join(folder, seedKey());
  mkdirSync(data, { recursive: true });
  for (const path of [folder, data]) chmodSync(path, 0o711);
  const env = { PLINTH_DATA: data };
  const config = loadConfig(env);
  // All servers keep their connections while the others are measured.
  const database = await openDatabase(config, { settings: { max_connections: "300" } });
  try {
    await bringUpToDate(config, database);
    const owner = new pg.Client(database.url("owner"));
    owner.on("error", () => {}); // the server stops while it is connected if filling fails
    await owner.connect();
    const { rows } = await owner.query("select from identity.users limit 1");
    if (rows.length === 0) {
      console.error(`Filling ${data} (once; delete the folder to fill it again)`);
      await seed(owner);
    }
    await owner.end();
  } catch (error) {
    await database.close();
    throw error;
  }
  const pidFile = ["postgres/postmaster.pid", "postgres/data/postmaster.pid"]
    .map((file) => join(data, file))
    .find((file) => existsSync(file));
  if (!pidFile) throw new Error("The embedded server has no postmaster.pid.");
  return { config, database, env, postmaster: Number(readFileSync(pidFile, "utf8").split("\n")[0]) };
}
