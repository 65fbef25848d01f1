// The check-list of a release: prints each point with its faults and what to do. Exits with 1 if a point fails. Points that take
// minutes are part of .ci/run, which --all runs, too.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { PACKAGE_ROOT } from "../src/support/paths.ts";
import { POINTS, type Point } from "./release/points.ts";

const { values } = parseArgs({ options: { all: { type: "boolean" }, json: { type: "boolean" } } });

interface Result {
  readonly name: string;
  readonly status: "ok" | "failed" | "not run";
  readonly faults: readonly string[];
  readonly action: string;
}

async function examine({ name, action, faults }: Point): Promise<Result> {
  if (!faults) return { name, status: "not run", faults: [], action };
  const found = await faults().catch((error: unknown) => [`It could not be checked: ${error}`]);
  return { name, status: found.length === 0 ? "ok" : "failed", faults: found, action };
}

function ciResult(): Result {
  // stdout is for the results.
  const { status } = spawnSync(join(PACKAGE_ROOT, ".ci/run"), { cwd: PACKAGE_ROOT, stdio: ["ignore", 2, 2] });
  const faults = status === 0 ? [] : [".ci/run failed; its output is above."];
  return { name: ".ci/run", status: status === 0 ? "ok" : "failed", faults, action: ".ci/run" };
}

const fast = await Promise.all(POINTS.filter(({ faults }) => faults || !values.all).map(examine));
const results = values.all ? [...fast, ciResult()] : fast;
const failed = results.filter(({ status }) => status === "failed").length;
const notRun = results.filter(({ status }) => status === "not run").length;
if (values.json) console.log(JSON.stringify({ isReady: failed === 0 && notRun === 0, results }, null, 2));
else {
  for (const { name, status, faults, action } of results) {
    console.log(`${status.padEnd(8)} ${name}`);
    for (const fault of faults.slice(0, 20)) console.log(`           ${fault}`);
    if (faults.length > 20) console.log(`           and ${faults.length - 20} more`);
    if (status !== "ok") console.log(`           → ${action}`);
  }
  if (notRun > 0)
    console.log(
      `\n${notRun} points take minutes: npm run release:check -- --all runs .ci/run, which proves them.`,
    );
}
process.exitCode = failed === 0 ? 0 : 1;
