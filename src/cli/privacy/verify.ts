import { readFileSync } from "node:fs";
import type { Command } from "commander";
import type { PublicJwk } from "../../auth/jwks.ts";
import { PlinthError } from "../../support/errors.ts";
import { print, printJson } from "../output.ts";
import { withSession } from "../session.ts";
import { UsageError } from "../usage-error.ts";
import { asOwner, UUID } from "./account.ts";
import { ownKeys } from "./own-keys.ts";

interface VerifyFlags {
  readonly json?: boolean;
  readonly jwks?: string;
  readonly key?: string;
  readonly account?: string;
}

export function addVerify(command: Command): void {
  command
    .command("verify")
    .argument("<certificate>", "file of a certificate, or the id of one in the database")
    .description("verify the signature of a certificate")
    .option("--jwks <url>", "URL of the public keys, such as https://api.example.com/.well-known/jwks.json")
    .option("--key <file>", "file with the same content")
    .option("--account <id>", "id of the erased account: also check that the certificate is for this account")
    .option("--json", "print the certificate as JSON")
    .addHelpText(
      "after",
      `
A file needs no database. Without --jwks and --key, the server's own keys verify.

Example:
  $ plinth privacy verify certificate.jws --jwks https://api.example.com/.well-known/jwks.json
  $ plinth privacy verify certificate.jws --key jwks.json --account 0190f000-0000-7000-8000-000000000001`,
    )
    .action(async (given: string, flags: VerifyFlags) => {
      if (flags.jwks && flags.key) throw new UsageError("Use either --jwks or --key, not both.");
      const { verifyCertificate, isAbout } = await import("../../privacy/certificate.ts");
      const { readSigned } = await import("../../privacy/certificate-files.ts");
      const stored = UUID.test(given) ? await asOwner((client) => readSigned(client, given)) : undefined;
      const signed = stored?.signed ?? readText(given).trim();
      const certificate = verifyCertificate(signed, await keysOf(flags));
      if (stored && stored.statementSha256 !== certificate.statementSha256)
        throw new PlinthError(
          "CERTIFICATE_INVALID",
          "The statement in the database is not the one that was signed.",
          {
            hint: "The signed certificate still holds; find out what changed the row.",
          },
        );
      const isTheirs = flags.account === undefined ? undefined : isAbout(certificate, flags.account);
      if (isTheirs === false)
        throw new PlinthError("CERTIFICATE_INVALID", "The certificate is for another account.", {
          hint: "Compare the account's id with the one in the mail about the deletion.",
        });
      if (flags.json) return printJson({ valid: true, ...certificate });
      const { statement, backups } = certificate;
      print(`The certificate ${statement.certificate} is valid.`);
      print(`Erased at ${statement.erasedAt}, requested by: ${statement.requestedBy}.`);
      if (statement.reference) print(`Reference: ${statement.reference}`);
      for (const [name, { deleted, cleared }] of Object.entries(statement.classes))
        print(`class ${name}: ${deleted} rows deleted, ${cleared} cleared`);
      if (certificate.archivedRows !== null) print(`Archives: ${certificate.archivedRows} rows erased.`);
      if (backups?.expireBy) print(`Backups that hold the data are deleted by ${backups.expireBy}.`);
      if (isTheirs) print("It is for this account.");
    });
}

async function keysOf({ jwks, key }: VerifyFlags): Promise<readonly PublicJwk[]> {
  const { readKeySet } = await import("../../privacy/certificate-files.ts");
  if (key) return readKeySet(readText(key));
  if (!jwks) return withSession(ownKeys);
  const response = await fetch(jwks, { signal: AbortSignal.timeout(10_000) }).catch((cause) => {
    throw new PlinthError("KEYS_UNREACHABLE", `${jwks} cannot be read.`, {
      hint: "Save the key set and use --key.",
      cause,
    });
  });
  return readKeySet(await response.text());
}

/** @throws PlinthError NOT_FOUND */
function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new PlinthError("NOT_FOUND", `${path} cannot be read.`, {
      hint: "Pass the path of a file, or the id of a certificate.",
      cause,
    });
  }
}
