import { type Command, Option } from "commander";
import type { MasterKeys } from "../../auth/master-keys.ts";
import type { Config } from "../../config/config.ts";
import type { Database } from "../../database/database.ts";
import { PlinthError } from "../../support/errors.ts";
import { note, print, printJson } from "../output.ts";
import { showProgress } from "../progress/progress.ts";
import { withClient, withSession } from "../session.ts";
import { wholeNumber } from "../whole-number.ts";

type Kind = "master" | "jwt" | "jwt-asymmetric" | "backup";

export function addKeys(program: Command): void {
  const command = program
    .command("keys")
    .description("generate keys, show which are in use, and rotate the master key")
    .addHelpText("after", "\nExample:\n  $ plinth keys status\n  $ plinth keys rotate");
  addGenerate(command);
  addStatus(command);
  addRotate(command);
  addHashEmails(command);
  addHashNames(command);
}

function addGenerate(command: Command): void {
  command
    .command("generate")
    .description("print a new key in the form that the settings expect")
    .addOption(
      new Option("--kind <kind>", "kind of key")
        .choices(["master", "jwt", "jwt-asymmetric", "backup"])
        .default("master"),
    )
    .option("--key-version <n>", "version of a master key; must be higher than those in use", wholeNumber, 1)
    .option("--json", "print it as JSON")
    .addHelpText(
      "after",
      `
Needs no database and stores nothing. The key is printed once; store it where only Plinth can read it.

Example:
  $ plinth keys generate --key-version 2             PLINTH_MASTER_KEYS=1:…,2:…
  $ plinth keys generate --kind jwt-asymmetric       PLINTH_JWT_KEYS=k…:es256:…,k…:…
  $ plinth keys generate --kind backup               PLINTH_BACKUP_KEY=…`,
    )
    .action(async (flags: { kind: Kind; keyVersion: number; json?: boolean }) => {
      const key = await generate(flags.kind, flags.keyVersion);
      if (flags.json) printJson({ kind: flags.kind, key });
      else print(key);
    });
}

async function generate(kind: Kind, version: number): Promise<string> {
  if (kind === "backup") return (await import("../../auth/backup-keys.ts")).generateBackupKey();
  const keys = await import("../../auth/signing-keys.ts");
  if (kind === "jwt") return keys.generateSigningKey();
  if (kind === "jwt-asymmetric") return keys.generateAsymmetricSigningKey();
  const { generateMasterKey } = await import("../../auth/master-keys.ts");
  return generateMasterKey(version);
}

function addStatus(command: Command): void {
  command
    .command("status")
    .description("show the master keys and how many secrets each has sealed")
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
        print(`Missing: version ${missing.join(", ")}. Secrets sealed with it cannot be read.`);
      if (behind > 0) print(`${behind} secrets must be resealed: run plinth keys rotate`);
      if (unused.length > 0)
        print(
          `No longer in use here: version ${unused.join(", ")}. Backups from before the rotation still need it.`,
        );
    });
}

function addRotate(command: Command): void {
  command
    .command("rotate")
    .description("reseal all secrets in the database with the newest master key")
    .option("--new", "embedded server only: first generate a new master key and store it in secrets.json")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
Before this runs, each server must have the new key in addition to the old ones: restart them first. Reads and writes
continue meanwhile. The rotation can be stopped at any time and run again. Needs the owner's URL.

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
  const outcome = await withSession(async ({ config, database, signal }) => {
    if (flags.new && !(await prepareNewKey(config, database))) return undefined;
    const masterKeys = await readMasterKeys(config, database);
    return withClient(database, "owner", (client) =>
      rotateSealed({
        client,
        masterKeys,
        signal,
        onProgress: showProgress,
      }),
    ).then((rotation) => ({ ...rotation, hadNewer: masterKeys.versions.length > 1 }));
  });
  if (!outcome) return announceRestart(flags.json);

  const { version, rotated, damaged, isComplete, hadNewer } = outcome;
  if (!isComplete)
    throw new PlinthError(
      "INTERRUPTED",
      `Stopped after ${rotated} secrets. Nothing is lost; run it again to continue.`,
      {
        exitCode: 130,
      },
    );
  if (!hadNewer)
    throw new PlinthError(
      "NO_NEW_KEY",
      `No master key is newer than version ${version}, which seals all secrets.`,
      {
        hint: `Add one to PLINTH_MASTER_KEYS (plinth keys generate --key-version ${version + 1}), or use --new with the embedded server.`,
      },
    );
  if (flags.json) printJson({ version, rotated, damaged, needsRestart: false });
  else
    print(
      rotated === 0
        ? `All secrets are sealed with version ${version}.`
        : `Resealed ${rotated} secrets with version ${version}.`,
    );
  if (damaged.length > 0)
    throw new PlinthError(
      "DAMAGED_SECRETS",
      `${damaged.length} secrets cannot be opened: ${damaged.slice(0, 5).join(", ")}.`,
      {
        hint: "They were altered, or sealed with another key of the same version. They were not changed.",
      },
    );
}

function announceRestart(json: boolean | undefined): void {
  if (json) printJson({ version: null, rotated: 0, damaged: [], needsRestart: true });
  else print("The new key is in secrets.json.");
  note("The running Plinth does not have it yet: restart it, then run plinth keys rotate.");
}

function addHashEmails(command: Command): void {
  command
    .command("hash-emails")
    .description("hash the email addresses of accounts that have no hash yet")
    .option(
      "--forget-addresses",
      "then delete all clear addresses, as in privacy mode; mail can no longer be sent",
    )
    .option("--json", "print the result as JSON")
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
          return hashEmails(client, hasher, {
            forgetAddresses: flags.forgetAddresses ?? false,
            onProgress: showProgress,
          });
        });
      });
      if (flags.json) printJson(outcome);
      else print(`Hashed ${outcome.hashed} addresses and deleted ${outcome.forgotten}.`);
      if (outcome.taken.length > 0)
        throw new PlinthError(
          "ADDRESS_TAKEN",
          `${outcome.taken.length} accounts have an invalid address or one that another account already has: ${outcome.taken.slice(0, 5).join(", ")}.`,
          {
            hint: "Set another address for each of them. Until then, their users sign in with their username.",
          },
        );
    });
}

function addHashNames(command: Command): void {
  command
    .command("hash-names")
    .description("replace the clear names of all accounts with keyed hashes, as in privacy mode")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
Users sign in with the same name as before; others see user-… and the display name. Changes to accounts wait meanwhile; all
names are hashed or none. Older rows of the logs keep the clear names until their retention ends. Needs the owner's URL and
the master keys.

Example:
  $ plinth keys hash-names`,
    )
    .action(async ({ json }: { json?: boolean }) => {
      const { hashNames } = await import("../../keys/hash-names.ts");
      const { createSealer } = await import("../../auth/sealing.ts");
      const { createEmailHasher } = await import("../../auth/email-hasher.ts");
      const outcome = await withSession(async ({ config, database }) => {
        const sealer = createSealer(await readMasterKeys(config, database));
        return withClient(database, "owner", (client) => {
          const query = async (text: string, values: readonly unknown[]) =>
            (await client.query(text, [...values])).rows;
          return hashNames(client, createEmailHasher({ sealer, query }), showProgress);
        });
      });
      if (json) printJson(outcome);
      else print(`Hashed ${outcome.hashed} names.`);
      if (outcome.taken.length > 0)
        throw new PlinthError(
          "NAME_TAKEN",
          `${outcome.taken.length} accounts have a name that another account has registered since: ${outcome.taken.slice(0, 5).join(", ")}.`,
          { hint: "Set another name for each of them, and run it again." },
        );
    });
}

async function readMasterKeys(config: Config, database: Database): Promise<MasterKeys> {
  const { masterKeysOf } = await import("../../start/key-settings.ts");
  const { parseMasterKeys } = await import("../../auth/master-keys.ts");
  return parseMasterKeys(masterKeysOf(config, database));
}
