import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Load } from "./load.ts";
import type { Operation } from "./operations.ts";
import { SQL_IDS, USERS } from "./seed.ts";

export const hasPgbench = spawnSync("pgbench", ["--version"]).status === 0;

/** The rate of PostgreSQL itself: the same SQL under the same policies in a transaction, prepared, from a client that costs little. */
export function runPgbench(url: string, { sql }: Operation, connections: number, seconds: number): Load {
  if (!sql) throw new Error("no SQL");
  const folder = mkdtempSync(join(tmpdir(), "plinth-pgbench-"));
  try {
    const file = join(folder, "script.sql");
    const text = sql.text.replace(/\$(\d)/g, (_, n) => sql.values[Number(n) - 1]!).replace(/\s+/g, " ");
    writeFileSync(
      file,
      `\\set u random(1, ${USERS})
\\set c random(0, 29)
begin;
select set_config('role', 'plinth_user', true), set_config('jwt.claims.user_id', ${SQL_IDS.user(":u")}::text, true);
${text};
commit;
`,
    );
    const flags = ["-n", "-M", "prepared", "-c", `${connections}`, "-T", `${seconds}`, "-f", file];
    const { stdout, stderr } = spawnSync("pgbench", [...flags, url], { encoding: "utf8" });
    const rate = Number(/tps = ([\d.]+)/.exec(stdout)?.[1]);
    const requests = Number(/actually processed: (\d+)/.exec(stdout)?.[1]);
    if (!(rate > 0) || /ERROR|aborted/.test(stderr)) throw new Error(stderr || stdout);
    const p50 = Number(/latency average = ([\d.]+)/.exec(stdout)?.[1]);
    return { rate, requests, p50, p99: Number.NaN };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
