// Does the parts of a start one after the other and prints their milliseconds; started by start.ts with the authenticator's URL.
import { enableCompileCache } from "node:module";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../src/support/paths.ts";

enableCompileCache(join(PACKAGE_ROOT, "node_modules", ".cache", "plinth"));
let last = performance.now();
function lap(): number {
  const before = last;
  last = performance.now();
  return last - before;
}

await import("../src/start/plinth.ts");
const { makePreset } = await import("../src/graphql/preset.ts");
const { createPool } = await import("../src/request/pool.ts");
const { loadConfig } = await import("../src/config/config.ts");
const { createLogger } = await import("../src/request/logger.ts");
const { buildInflection, buildSchema, gather } = await import("postgraphile/graphile-build");
const modules = lap();

const config = loadConfig({});
const url = process.argv[2]!;
const pool = createPool({
  url,
  applicationName: "plinth bench",
  max: 2,
  settings: config.pool,
  onError: () => {},
});
const preset = makePreset({ pool, config, logger: createLogger("silent") });
const shared = { inflection: buildInflection(preset) };
const input = await gather(preset, shared);
const catalogue = lap();
buildSchema(preset, input, shared);
console.log(JSON.stringify({ modules, catalogue, schema: lap() }));
await pool.end();
