import { expect, test } from "@jest/globals";
import { resolvePreset } from "graphile-config";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import { POSTGRAPHILE_PRESET } from "../../src/graphql/postgraphile-preset.ts";

test("the preset has PostGraphile's own plugins in PostGraphile's own order", () => {
  const own = resolvePreset(POSTGRAPHILE_PRESET);
  const amber = resolvePreset(PostGraphileAmberPreset);
  expect(own.plugins?.length).toBeGreaterThan(50);
  // Equal by identity: an application's own `postgraphile` shares these packages with Plinth.
  expect(own.plugins!.every((plugin, index) => plugin === amber.plugins![index])).toBe(true);
  expect({ ...own, plugins: own.plugins!.length }).toEqual({ ...amber, plugins: amber.plugins!.length });
});
