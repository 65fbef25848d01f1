import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { missingPrograms, openTerminal } from "../../support/shell/terminal.ts";
import { MACHINE } from "./machine.ts";
import { type Machine, startMachine } from "./on-machine.ts";

// The commands of the pages, in their order and as they are written, beside one `npm start`. The last page stops it and restores
// backups.

const missing = missingPrograms(["bash", "curl", "psql", "jq", "flock"]);

(missing.length === 0 ? describe : describe.skip)(
  `beside npm start${missing.length === 0 ? "" : `: skipped, because ${missing} are not installed`}`,
  () => {
    const resources = new AsyncDisposableStack();
    let machine: Machine;
    beforeAll(async () => {
      const terminal = resources.use(await openTerminal());
      machine = resources.use(await startMachine(terminal));
    });
    afterAll(() => resources.disposeAsync());

    test.each(MACHINE.map((recipe) => [recipe.page, recipe] as const))(
      "the commands of %s do what it says",
      async (_page, recipe) => {
        expect(await machine.run(recipe)).toEqual([]);
      },
    );
  },
);
