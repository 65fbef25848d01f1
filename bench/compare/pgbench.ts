import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { percentile } from "../support.ts";
import type { Load } from "./load.ts";
import type { PgbenchScript } from "./pgbench-script.ts";
import { POOL_SIZE } from "./servers/names.ts";

export const hasPgbench = spawnSync("pgbench", ["--version"]).status === 0;

/** The rate of PostgreSQL itself: the same SQL, prepared, from a client that costs little, over as many connections as a server has. */
export function runPgbench(url: string, script: PgbenchScript, seconds: number): Load {
  const folder = mkdtempSync(join(tmpdir(), "plinth-pgbench-"));
  try {
    writeFileSync(join(folder, "script.sql"), script.text);
    const { stdout, stderr } = spawnSync(
      "pgbench",
      ["-n", "-M", "prepared", "-c", `${POOL_SIZE}`, "-T", `${seconds}`, "-f", "script.sql", "-l", url],
      { cwd: folder, encoding: "utf8" },
    );
    const rate = Number(/tps = ([\d.]+)/.exec(stdout)?.[1]);
    if (!(rate > 0) || /ERROR|aborted/.test(stderr)) throw new Error(stderr || stdout);
    const times = readLog(folder);
    return { rate, requests: times.length, p50: percentile(times, 0.5), p99: percentile(times, 0.99) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Milliseconds of each transaction: the third column of pgbench's log, in microseconds. */
function readLog(folder: string): number[] {
  return readdirSync(folder)
    .filter((file) => file.startsWith("pgbench_log"))
    .flatMap((file) => readFileSync(join(folder, file), "utf8").trim().split("\n"))
    .map((line) => Number(line.split(" ")[2]) / 1_000);
}
