import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { missingPrograms, openTerminal, type Terminal } from "../../support/shell/terminal.ts";
import { DATABASE } from "./database.ts";
import { runOnDatabase } from "./on-database.ts";

// The commands of the pages, in their order and as they are written, each page on a database of its own.

const missing = missingPrograms();

(missing.length === 0 ? describe : describe.skip)(
  `on a migrated database${missing.length === 0 ? "" : `: skipped, because ${missing} are not installed`}`,
  () => {
    let terminal: Terminal;
    beforeAll(async () => {
      terminal = await openTerminal();
    });
    afterAll(async () => {
      await terminal[Symbol.asyncDispose]();
    });

    test.each(DATABASE.map((recipe) => [recipe.page, recipe] as const))(
      "the commands of %s do what it says",
      async (_page, recipe) => {
        expect(await runOnDatabase(recipe, terminal)).toEqual([]);
      },
    );
  },
);
