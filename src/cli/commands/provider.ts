import type { Command } from "commander";
import { PlinthError } from "../../support/errors.ts";
import { note } from "../output.ts";
import { withClient, withSession } from "../session.ts";

export function addProvider(program: Command): void {
  const command = program
    .command("provider")
    .description("set and delete the keys of model providers")
    .addHelpText("after", "\nExample:\n  $ plinth provider set-key openai < key.txt");

  command
    .command("set-key <name>")
    .description("store the API key of a model provider, read from stdin")
    .addHelpText(
      "after",
      `
Needs the owner's URL and PLINTH_MASTER_KEYS. The key is encrypted and can never be read; a change of the provider's
api_url deletes it. On a terminal, the command asks for the key.

Example:
  $ plinth provider set-key openai < key.txt`,
    )
    .action(async (name: string) => {
      await changeKey(name, await readKey());
      note(`Stored the key of ${name}`);
    });

  command
    .command("delete-key <name>")
    .description("delete the API key of a model provider")
    .addHelpText("after", "\nNeeds the owner's URL.\n\nExample:\n  $ plinth provider delete-key openai")
    .action(async (name: string) => {
      await changeKey(name, undefined);
      note(`Deleted the key of ${name}`);
    });
}

async function readKey(): Promise<string> {
  const { ask, readLineFromStdin } = await import("../ask.ts");
  const key = process.stdin.isTTY ? await ask("Key: ", { hidden: true }) : await readLineFromStdin("key");
  // As a header may carry it.
  if (/^[\x21-\x7e]{1,4096}$/.test(key.trim())) return key.trim();
  throw new PlinthError("KEY_INVALID", "A key must have 1 to 4,096 visible ASCII characters.");
}

async function changeKey(name: string, key: string | undefined): Promise<void> {
  const { setProviderKey } = await import("../../answerer/connect-model.ts");
  const { masterKeysOf } = await import("../../start/key-settings.ts");
  const wasFound = await withSession(({ config, database }) =>
    withClient(database, "owner", (client) =>
      setProviderKey(client, name, key, key === undefined ? "" : masterKeysOf(config, database)),
    ),
  );
  if (!wasFound)
    throw new PlinthError("PROVIDER_NOT_FOUND", `There is no model provider ${JSON.stringify(name)}.`, {
      hint: "Providers are rows of llm.model_providers.",
    });
}
