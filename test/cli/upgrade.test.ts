import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { rollback } from "../../src/database/rollback.ts";
import { compareVersions } from "../../src/support/compare-versions.ts";
import { PLINTH_VERSION } from "../../src/support/version.ts";
import { entriesBetween, parseChangelog, readChangelog } from "../../src/upgrade/changelog.ts";
import { readDatabaseVersion } from "../../src/upgrade/database-version.ts";
import { createTestDatabase, type TestDatabase, testSetup, withClient } from "../support/database.ts";
import { cli, databaseEnv } from "./run-cli.ts";

let db: TestDatabase;
let env: Record<string, string>;
beforeAll(async () => {
  db = await createTestDatabase();
  env = { ...databaseEnv(db), TEST_DATABASE_URL: testSetup().adminUrl };
});
afterAll(() => db.drop());

const asOwner = (sql: string) => withClient(db.url("owner"), (client) => client.query(sql));
const version = () => withClient(db.url("owner"), readDatabaseVersion);
/** As an earlier version leaves it. */
const setVersion = (text: string) =>
  asOwner(`comment on schema plinth_migrate is 'Record of Plinth''s migrations. ${text}'`);

test("the steps from an older version to this one", async () => {
  expect(await version()).toEqual({
    version: PLINTH_VERSION,
    isMigrated: true,
    compatibilitySchemas: [],
    hasVectors: false,
  });
  const current = `The database has version ${PLINTH_VERSION}, as this Plinth does. `;
  expect(await cli(["upgrade"], { env })).toMatchObject({
    code: 0,
    stdout: `${current}No migration is pending: there is nothing to upgrade.\n`,
  });
  expect(await cli(["upgrade", "--notes"], { env })).toMatchObject({
    code: 0,
    stdout: `${current}There are no changes to read.\n`,
  });
  const { rolledBack } = await rollback({ ownerUrl: db.url("owner"), rolePrefix: db.rolePrefix, steps: 1 });
  // The rollback leaves the schema of the release of the latest migration, or of none, if that is not released yet.
  expect(await version()).toMatchObject({ isMigrated: true });
  await setVersion("Latest: 000033. Version: 0.9.0");
  await asOwner("create schema compat_headphone");

  const printed = await cli(["upgrade"], { env: { ...env, PLINTH_OLD_NAME: "1" } });
  expect(printed).toMatchObject({ code: 0 });
  expect(printed.stdout).toContain(`The database has version 0.9.0. This is Plinth ${PLINTH_VERSION}.\n`);
  expect(printed.stdout).toContain("### Upgrading\n");
  for (const step of [
    "Back up the database with the tool of its server",
    "Remove or rename PLINTH_OLD_NAME: this version has no such setting",
    "Bring compat_headphone up to date: npx plinth compat enable",
    "Check the result: npx plinth doctor",
  ])
    expect(printed.stdout).toContain(`\n  - ${step}`);
  expect(printed.stdout).toMatch(
    new RegExp(`\n${rolledBack[0]} \\(Plinth, one transaction, \\d+ statements\\)\n  Locks`),
  );
  expect(await version()).toMatchObject({ version: "0.9.0" });

  const done = await cli(["upgrade", "--yes", "--notes", "--json"], { env });
  expect(done).toMatchObject({ code: 0 });
  expect(JSON.parse(done.stdout)).toMatchObject({
    from: "0.9.0",
    to: PLINTH_VERSION,
    changes: [{ version: PLINTH_VERSION }],
    outcome: { applied: rolledBack },
  });
  expect(await version()).toMatchObject({ version: PLINTH_VERSION });
});

test("a database of a newer version is left as it is", async () => {
  await setVersion("Latest: 000034. Version: 99.0.0");
  const { code, stderr } = await cli(["upgrade", "--yes"], { env });
  expect(code).toBe(1);
  expect(stderr).toContain(
    `error: The database has version 99.0.0, and this is Plinth ${PLINTH_VERSION}.\nhint: `,
  );
  expect(await version()).toMatchObject({ version: "99.0.0" });
});

test("a version without a record is that of the release of the latest migration", async () => {
  await setVersion("Latest: 000034");
  expect(await version()).toMatchObject({ version: "1.0.0-rc.1", isMigrated: true });
  await asOwner("comment on schema plinth_migrate is null");
  expect(await version()).toMatchObject({ version: undefined, isMigrated: false });
});

test("the changelog is read by version", async () => {
  const entries = parseChangelog(
    "# Changelog\n\n## [Unreleased]\n\n- d\n\n## [1.1.0] - 2027-01-02\n\n### Added\n\n- c\n\n## [1.0.0] - 2026-12-01\n\n- b\n\n## [1.0.0-rc.1] - 2026-11-30\n\n- a\n",
  );
  expect(entries[1]).toEqual({ version: "1.1.0", date: "2027-01-02", text: "### Added\n\n- c" });
  const texts = (from: string | undefined, to: string) =>
    entriesBetween(entries, from, to).map(({ text }) => text);
  expect(texts("1.0.0", "1.1.0")).toEqual(["### Added\n\n- c"]);
  expect(texts("1.0.0-rc.1", "1.0.0")).toEqual(["- b"]);
  expect(texts(undefined, "1.0.0-rc.1")).toEqual(["- a"]);
  expect(texts("1.1.0", "1.1.0")).toEqual([]);
  expect((await readChangelog()).map((entry) => entry.version)).toContain(PLINTH_VERSION);
});

test("versions are ordered as semver.org orders them", () => {
  const ordered = [
    "0.9.10",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.2",
    "1.0.10",
    "1.2.0",
    "2.0.0",
  ];
  expect([...ordered].reverse().sort(compareVersions)).toEqual(ordered);
  expect(compareVersions("1.0.0+one", "1.0.0")).toBe(0);
});
