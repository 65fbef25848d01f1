// A start of `serve` on existing data until /readyz: median of seven. Target: at most 2 s. Then what takes the time, each measured in a
// fresh process without a server: loading the modules, reading the catalogue, building the schema from it.
//
//   node bench/start.ts [--starts 7]
import { execFile } from "node:child_process";
import { parseArgs, promisify } from "node:util";
import { percentile, startPlinth } from "./support.ts";

const { values } = parseArgs({ options: { starts: { type: "string", default: "7" } } });
const STARTS = Number(values.starts);
const PARTS = ["modules", "catalogue", "schema"] as const;
type Times = Record<(typeof PARTS)[number], number>;

const median = (times: readonly number[]) => percentile(times, 0.5);
const plinth = await startPlinth();
try {
  const url = await plinth.databaseUrl("authenticator");
  const script = new URL("./start-parts.ts", import.meta.url).pathname;
  const starts: number[] = [];
  const runs: Times[] = [];
  for (let i = 0; i < STARTS; i++) {
    starts.push(await plinth.serveTime());
    const { stdout } = await promisify(execFile)(process.execPath, [script, url]);
    runs.push(JSON.parse(stdout) as Times);
  }
  const whole = median(starts);
  console.log(
    `serve until /readyz: median ${whole.toFixed(0)} ms of ${starts.map((time) => time.toFixed(0)).join(", ")} (target: at most 2000)`,
  );
  for (const part of PARTS) {
    const time = median(runs.map((times) => times[part]));
    console.log(
      `${part.padEnd(9)} ${time.toFixed(0).padStart(5)} ms  ${((100 * time) / whole).toFixed(0)} %`,
    );
  }
} finally {
  await plinth.stop();
}
