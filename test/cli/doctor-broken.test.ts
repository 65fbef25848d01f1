import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { brokenDatabase } from "./broken/database.ts";
import { type Broken, Installation } from "./broken/installation.ts";
import { brokenServices } from "./broken/outside.ts";
import { brokenSecurity } from "./broken/security.ts";
import { brokenServer } from "./broken/server.ts";
import { brokenWork } from "./broken/work.ts";
import { cli } from "./run-cli.ts";

// Each broken thing is broken in one database with roles of its own, examined by the group of its check, and mended.

const at = new Installation();
beforeAll(() => at.open());
afterAll(() => at.close());

const SERVICES = brokenServices(at);
const BROKEN: readonly Broken[] = [
  ...brokenServer(at),
  ...brokenDatabase(at),
  ...brokenWork,
  ...brokenSecurity,
  ...SERVICES,
];

/** Findings of the tests' own server: its settings have no keys, no worker has used it, and fsync is off to save time. */
const OF_TESTS = ["worker", "schedules", "signing-keys", "master-keys", "unknown-setting", "durability"];

describe(`doctor tells ${BROKEN.length} broken things`, () => {
  // First, because a rolled back row leaves its page in a default partition.
  test("none of them where nothing is broken", async () => {
    expect(BROKEN.length).toBeGreaterThanOrEqual(49);
    const groups = new Map(
      BROKEN.filter((broken) => !SERVICES.includes(broken)).map((broken) => [broken.group, broken]),
    );
    const checks = new Set(BROKEN.map(({ check }) => check));
    for (const { group, context: own } of groups.values()) {
      const findings = await at.findingsOf({
        title: "",
        check: "",
        says: /./,
        group,
        ...(own?.database && { context: at.external }),
      });
      const troubles = findings.filter(
        ({ check, status }) => checks.has(check) && !["ok", "skipped"].includes(status),
      );
      const names = troubles.map(({ check }) => check).filter((check) => !OF_TESTS.includes(check));
      expect(names).toEqual([]);
    }
  });

  test.each(BROKEN)("$title: $check", async (broken) => {
    const { check, status = "fail", says } = broken;
    const finding = (await at.findingsOf(broken)).find((each) => each.check === check);
    expect(finding).toMatchObject({ status, hint: expect.stringMatching(/\S+/) });
    expect([finding!.message, finding!.hint, ...(finding!.details ?? [])].join("\n")).toMatch(says);
    expect(JSON.stringify(finding)).not.toMatch(/secret-password|sk_test_x/);
  });
});

test("an invalid setting is a finding with the setting's name", async () => {
  const { code, stdout } = await cli(["doctor", "--json"], { env: { ...at.env(), PLINTH_POOL_MAX: "many" } });
  expect(code).toBe(1);
  expect(JSON.parse(stdout)).toMatchObject({
    healthy: false,
    findings: [{ check: "settings", status: "fail", message: expect.stringContaining("PLINTH_POOL_MAX") }],
  });
});
