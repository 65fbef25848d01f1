import { expect, test } from "@jest/globals";
import type { Pool } from "pg";
import { pino } from "pino";
import { loadConfig } from "../../src/config/config.ts";
import { makePreset } from "../../src/graphql/preset.ts";

test.each([
  ["5000", 2_000],
  ["50", 2_000],
  ["300000", 120_000],
])("a plan has its time beside a statement timeout of %s ms: %d ms", (timeout, planning) => {
  const config = loadConfig({ PLINTH_STATEMENT_TIMEOUT_MS: timeout });
  const preset = makePreset({ pool: {} as Pool, config, logger: pino({ level: "silent" }) });
  expect(preset.grafast?.timeouts?.planning).toBe(planning);
});
