import type { Command } from "commander";
import { print, printJson } from "../output.ts";
import { withSession } from "../session.ts";

interface Flags {
  readonly json?: boolean;
}

export function addMemory(program: Command): void {
  const command = program
    .command("memory")
    .description("turn recall of memories by meaning on or off")
    .addHelpText("after", "\nExample:\n  $ plinth memory enable-vectors");

  command
    .command("enable-vectors")
    .description("create the tables for recall by meaning; needs pgvector")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
The jobs create the vectors with the endpoint in PLINTH_EMBEDDINGS_URL and store them in the database. A vector reveals what
its memory is about, even to a reader of a backup who has no key. Run it again after an upgrade of Plinth. Needs
the owner's URL.

Example:
  $ plinth memory enable-vectors`,
    )
    .action(async ({ json }: Flags) => {
      const { enableMemoryVectors } = await import("../../database/memory-vectors.ts");
      await withSession(({ config, database, signal }) =>
        enableMemoryVectors({
          ownerUrl: database.url("owner"),
          rolePrefix: config.rolePrefix,
          patience: config.migrations,
          signal,
        }),
      );
      if (json) printJson({ enabled: true });
      else print("Vectors of memories are enabled.");
    });

  command
    .command("disable-vectors")
    .description("delete all vectors of memories and their tables")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
Memories are not changed; they are recalled by words. The extension stays. Needs the owner's URL.

Example:
  $ plinth memory disable-vectors`,
    )
    .action(async ({ json }: Flags) => {
      const { disableMemoryVectors } = await import("../../database/memory-vectors.ts");
      const wereEnabled = await withSession(({ config, database, signal }) =>
        disableMemoryVectors({
          ownerUrl: database.url("owner"),
          rolePrefix: config.rolePrefix,
          patience: config.migrations,
          signal,
        }),
      );
      if (json) printJson({ enabled: false, wereEnabled });
      else print(wereEnabled ? "Deleted all vectors of memories." : "Vectors of memories were not enabled.");
    });
}
