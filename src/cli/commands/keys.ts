import { type Command, Option } from "commander";
import type { MasterKeys } from "../../auth/master-keys.ts";
import type { Config } from "../../config/config.ts";
import type { Database } from "../../database/database.ts";
import { PlinthError } from "../../support/errors.ts";
import { note, print, printJson, startProgress } from "../output.ts";
import { withClient, withSession } from "../session.ts";
import { wholeNumber } from "../whole-number.ts";

type Kind = "master" | "jwt" | "jwt-asymmetric";

export function addKeys(program: Command): void {
  const command = program
    .command("keys")
    .description("make keys, see which are in use, and change the master key")
    .addHelpText("after", "\nExample:\n  $ plinth keys status\n  $ plinth keys rotate");
  addGenerate(command);
  addStatus(command);
  addRotate(command);
  addHashEmails(command);
}

function addGenerate(command: Command): void {
  command
    .command("generate")
    .description("print a new key, as the settings take it")
    .addOption(
      new Option("--kind <kind>", "what for").choices(["master", "jwt", "jwt-asymmetric"]).default("master"),
    )
    .option("--key-version <n>", "version of a master key; must be above the ones in use", wholeNumber, 1)
    .option("--json", "print it as JSON")
    .addHelpText(
      "after",
      `
Needs no database and keeps nothing. The key is printed once; put it where only Plinth can read it.

Example:
  $ plinth keys generate --key-version 2             PLINTH_MASTER_KEYS=1:…,2:…
  $ plinth keys generate --kind jwt-asymmetric       PLINTH_JWT_KEYS=k…:es256:…,k…:…`,
    )
    .action(async (flags: { kind: Kind; keyVersion: number; json?: boolean }) => {
      const key = await generate(flags.kind, flags.keyVersion);
      if (flags.json) printJson({ kind: flags.kind, key });
      else print(key);
    });
}

async function generate(kind: Kind, version: number): Promise<string> {
  const keys = await import("../../auth/signing-keys.ts");
  if (kind === "jwt") return keys.generateSigningKey();
  if (kind === "jwt-asymmetric") return keys.generateAsymmetricSigningKey();
  const { generateMasterKey } = await import("../../auth/master-keys.ts");
  return generateMasterKey(version);
}

function addStatus(command: Command): void {
  command
    .command("status")
    .description("show which master keys there are and what is sealed under which")
    .option("--json", "print it as JSON")
    .addHelpText(
      "after",
      "\nNeeds the owner's URL. Prints no key.\n\nExample:\n  $ plinth keys status --json",
    )
    .action(async ({ json }: { json?: boolean }) => {
      const { countSealed } = await import("../../keys/sealed-columns.ts");
      const { masterKeys, sealed } = await withSession(async ({ config, database }) => ({
        masterKeys: await readMasterKeys(config, database),
        sealed: await withClient(database, "owner", (client) => countSealed(client)),
      }));
      const { current, versions } = masterKeys;
      const inUse = new Set(sealed.map(({ version }) => version));
      const missing = [...inUse].filter((version) => version !== null && !versions.includes(version));
      const unused = versions.filter((version) => version !== current && !inUse.has(version));
      const behind = sealed
        .filter(({ version }) => version !== current)
        .reduce((sum, { count }) => sum + count, 0);
      if (json) return printJson({ current, versions, missing, unused, behind, sealed });
      print(`Master key versions: ${versions.join(", ")}; ${current} seals.`);
      for (const { table, column, version, count } of sealed)
        print(
          `  ${table}.${column}: ${count} under ${version === null ? "no key (not sealed)" : `version ${version}`}`,
        );
      if (missing.length > 0)
        print(`Missing: version ${missing.join(", ")}. What they sealed cannot be read.`);
      if (behind > 0) print(`${behind} still to be sealed anew: plinth keys rotate`);
      if (unused.length > 0)
        print(
          `No longer in use here: version ${unused.join(", ")}. Backups made before the rotation still need them.`,
        );
    });
}

function addRotate(command: Command): void {
  command
    .command("rotate")
    .description("seal all secrets in the database anew, under the highest master key")
    .option("--new", "embedded server only: first make a new master key and keep it in secrets.json")
    .option("--json", "print the outcome as JSON")
    .addHelpText(
      "after",
      `
Every server must have the new key beside the old ones before this runs: restart them first. Reads and writes go on
meanwhile. It can be stopped at any moment and run again. Needs the owner's URL.

Example:
  $ export PLINTH_MASTER_KEYS="$PLINTH_MASTER_KEYS,$(plinth keys generate --key-version 2)"
  $ plinth keys rotate
  $ plinth keys rotate --new                         embedded server, while it is stopped`,
    )
    .action(rotate);
}

async function rotate(flags: { new?: boolean; json?: boolean }): Promise<void> {
  const { rotateSealed } = await import("../../keys/rotate.ts");
  const { prepareNewKey } = await import("../../keys/new-master-key.ts");
  const progress = startProgress();
  const outcome = await withSession(async ({ config, database, signal }) => {
    if (flags.new && !(await prepareNewKey(config, database))) return undefined;
    const masterKeys = await readMasterKeys(config, database);
    return withClient(database, "owner", (client) =>
      rotateSealed({
        client,
        masterKeys,
        signal,
        onProgress: (done, total) => progress.update(`${done} of ${total}`),
      }),
    ).then((rotation) => ({ ...rotation, hadNewer: masterKeys.versions.length > 1 }));
  }).finally(() => progress.end());
  if (!outcome) return announceRestart(flags.json);

  const { version, rotated, damaged, isComplete, hadNewer } = outcome;
  if (!isComplete)
    throw new PlinthError(
      "INTERRUPTED",
      `Stopped after ${rotated}. Nothing is lost; run it again to go on.`,
      {
        exitCode: 130,
      },
    );
  if (!hadNewer)
    throw new PlinthError(
      "NO_NEW_KEY",
      `There is no newer master key than version ${version}, which seals all.`,
      {
        hint: `Add one to PLINTH_MASTER_KEYS (plinth keys generate --key-version ${version + 1}), or use --new with the embedded server.`,
      },
    );
  if (flags.json) printJson({ version, rotated, damaged, needsRestart: false });
  else
    print(
      rotated === 0
        ? `All is sealed under version ${version}.`
        : `${rotated} sealed under version ${version}.`,
    );
  if (damaged.length > 0)
    throw new PlinthError(
      "DAMAGED_SECRETS",
      `${damaged.length} secrets cannot be opened: ${damaged.slice(0, 5).join(", ")}.`,
      {
        hint: "They were altered, or sealed by another key of the same version. They were left as they are.",
      },
    );
}

function announceRestart(json: boolean | undefined): void {
  if (json) printJson({ version: null, rotated: 0, damaged: [], needsRestart: true });
  else print("The new key is in secrets.json.");
  note("The Plinth that runs on this data does not have it yet: restart it, then run plinth keys rotate.");
}

function addHashEmails(command: Command): void {
  command
    .command("hash-emails")
    .description("give accounts the hash of their address that have none")
    .option(
      "--forget-addresses",
      "then remove all clear addresses, as in privacy mode; mail can no longer be sent",
    )
    .option("--json", "print the outcome as JSON")
    .addHelpText(
      "after",
      "\nNeeds the owner's URL and the master keys.\n\nExample:\n  $ plinth keys hash-emails",
    )
    .action(async (flags: { forgetAddresses?: boolean; json?: boolean }) => {
      const { hashEmails } = await import("../../keys/hash-emails.ts");
      const { createSealer } = await import("../../auth/sealing.ts");
      const { createEmailHasher } = await import("../../auth/email-hasher.ts");
      const outcome = await withSession(async ({ config, database }) => {
        const sealer = createSealer(await readMasterKeys(config, database));
        return withClient(database, "owner", (client) => {
          const query = async (text: string, values: readonly unknown[]) =>
            (await client.query(text, [...values])).rows;
          const hasher = createEmailHasher({ sealer, query });
          return hashEmails(client, hasher, { forgetAddresses: flags.forgetAddresses ?? false });
        });
      });
      if (flags.json) printJson(outcome);
      else print(`${outcome.hashed} addresses hashed, ${outcome.forgotten} forgotten.`);
      if (outcome.taken.length > 0)
        throw new PlinthError(
          "ADDRESS_TAKEN",
          `${outcome.taken.length} accounts have an address that another account has already: ${outcome.taken.slice(0, 5).join(", ")}.`,
          { hint: "Give one of the two another address; until then they are found by their username." },
        );
    });
}

async function readMasterKeys(config: Config, database: Database): Promise<MasterKeys> {
  const { masterKeysOf } = await import("../../start/key-settings.ts");
  const { parseMasterKeys } = await import("../../auth/master-keys.ts");
  return parseMasterKeys(masterKeysOf(config, database));
}
