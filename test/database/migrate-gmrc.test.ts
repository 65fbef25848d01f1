import { readlink, realpath } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { getSettingsFromJSON } from "graphile-migrate/dist/commands/_common.js";
import { DEFAULT_ROLE_PREFIX, roleName } from "../../src/config/roles.ts";
import { graphileSettings } from "../../src/database/graphile-migrate.ts";
import { MIGRATIONS_FOLDER, PACKAGE_ROOT } from "../../src/support/paths.ts";

test(".gmrc configures the graphile-migrate command as `plinth migrate` works", async () => {
  const file = await getSettingsFromJSON(join(PACKAGE_ROOT, ".gmrc"));
  const code = graphileSettings({
    rolePrefix: DEFAULT_ROLE_PREFIX,
    owner: roleName(DEFAULT_ROLE_PREFIX, "owner"),
    database: "plinth",
    migrationsFolder: MIGRATIONS_FOLDER,
  });
  expect(file).toEqual({
    placeholders: code.placeholders,
    pgSettings: code.pgSettings,
    blankMigrationContent: code.blankMigrationContent,
  });
});

test("quotes an owner's name of another form where migrations name it", () => {
  const settings = graphileSettings({
    rolePrefix: "p",
    owner: 'Some "DBA"',
    database: "plinth",
    migrationsFolder: MIGRATIONS_FOLDER,
  });
  expect(settings.placeholders?.[":PLINTH_OWNER"]).toBe('"Some ""DBA"""');
  expect(settings.placeholders?.[":PLINTH_USER"]).toBe("p_user");
});

test("keeps the current migration at the top, where graphile-migrate finds it", async () => {
  const link = join(MIGRATIONS_FOLDER, "current.sql");
  expect(await readlink(link)).toBe("../current.sql");
  expect(await realpath(link)).toBe(await realpath(join(PACKAGE_ROOT, "current.sql")));
});
