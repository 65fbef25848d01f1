import { randomBytes } from "node:crypto";
import { type Command, InvalidArgumentError } from "commander";
import type pg from "pg";
import { findUser } from "../../database/find-user.ts";
import { PlinthError } from "../../support/errors.ts";
import { ask, readLineFromStdin } from "../ask.ts";
import { print, printJson } from "../output.ts";
import { withClient, withSession } from "../session.ts";
import { UsageError } from "../usage-error.ts";

interface CreateFlags {
  readonly email: string;
  readonly displayName?: string;
  readonly passwordStdin?: boolean;
  readonly generatePassword?: boolean;
  readonly json?: boolean;
}

interface GrantFlags {
  readonly expires?: string;
  readonly reason?: string;
  readonly revoke?: boolean;
  readonly json?: boolean;
}

export function addUser(program: Command): void {
  const command = program
    .command("user")
    .description("create accounts and grant roles")
    .addHelpText(
      "after",
      "\nExample:\n  $ plinth user create ada --email ada@example.com\n  $ plinth user grant ada admin",
    );

  command
    .command("create")
    .argument("<username>", "name to sign in with")
    .description("create an account; prompts for the password")
    .requiredOption("--email <address>", "email address")
    .option("--display-name <name>", "name shown to others")
    .option("--password-stdin", "read the password from the first line of stdin")
    .option("--generate-password", "generate a password and print it once")
    .option("--json", "print the account as JSON")
    .addHelpText(
      "after",
      `
A password is never an argument, because arguments appear in the shell's history and in the list of processes.

Example:
  $ plinth user create ada --email ada@example.com
  $ plinth user create ada --email ada@example.com --generate-password --json`,
    )
    .action(createUser);

  command
    .command("grant")
    .argument("<username>", "user to change")
    .argument("<role>", "such as admin, moderator or user")
    .description("grant a role to an account, or revoke it")
    .option(
      "--expires <time>",
      "time when the role expires, such as 2027-01-31 or 2027-01-31T12:00:00Z",
      isoTime,
    )
    .option("--reason <words>", "reason of the grant, for auditors")
    .option("--revoke", "revoke the role")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
Example:
  $ plinth user grant ada admin
  $ plinth user grant ada moderator --expires 2027-01-31 --reason "Covers for Bob."`,
    )
    .action(grantRole);
}

async function createUser(username: string, flags: CreateFlags): Promise<void> {
  const { createPasswordHasher } = await import("../../auth/password-hash.ts");
  const { checkNewPassword } = await import("../../auth/password-policy.ts");
  const password = await choosePassword(flags);
  const { loadConfig } = await import("../../config/config.ts");
  const { auth, app } = loadConfig();
  checkNewPassword(password, {
    username,
    email: flags.email,
    displayName: flags.displayName ?? null,
    serviceName: app.name,
  });

  const hasher = createPasswordHasher({ concurrency: 1, algorithm: auth.passwordHash });
  const { hash, algorithm } = await hasher.hash(password).finally(() => hasher.close());
  const { emailToStore, nameToStore } = await import("../../auth/email-storage.ts");
  const { findMasterKeys } = await import("../../start/key-settings.ts");
  const { id, email, storedName } = await withSession(({ config, database }) =>
    withClient(database, "service", async (client) => {
      const { privacyMode } = config.auth;
      const masterKeys = findMasterKeys(config, database);
      const stored = await emailToStore(client, { masterKeys, privacyMode }, flags.email);
      const storedName = await nameToStore(client, { masterKeys, privacyMode }, username);
      const { rows } = await client
        .query<{ id: string }>("select private.register_user($1, $2, $3, $4, $5, $6) as id", [
          storedName,
          stored.email,
          flags.displayName ?? null,
          hash,
          algorithm,
          stored.hash,
        ])
        .catch(explainRegistration);
      return { id: rows[0]!.id, email: stored.email, storedName };
    }),
  );
  const generated = flags.generatePassword ? { password } : {};
  if (flags.json) printJson({ id, username: storedName, email: email ?? flags.email, ...generated });
  else {
    print(`Created account ${storedName} (${id}).`);
    if (flags.generatePassword) print(`Password: ${password}`);
  }
}

async function choosePassword(flags: CreateFlags): Promise<string> {
  if (flags.generatePassword && flags.passwordStdin)
    throw new UsageError("Use either --generate-password or --password-stdin, not both.");
  // 144 bits, in characters that need no quoting in a shell and that a double click selects.
  if (flags.generatePassword) return randomBytes(18).toString("base64url");
  if (flags.passwordStdin) return readLineFromStdin();
  if (!process.stdin.isTTY)
    throw new UsageError("No terminal to prompt on: use --password-stdin or --generate-password.");
  const password = await ask("Password: ", { hidden: true });
  if ((await ask("Repeat password: ", { hidden: true })) !== password)
    throw new PlinthError("PASSWORDS_DIFFER", "The passwords do not match.");
  return password;
}

/** Messages for a new account that the database rejects, by constraint. */
const REGISTRATION_ERRORS: Record<string, string> = {
  users_username_key: "That username is already taken.",
  users_email_key: "Another account already has that email address.",
  users_hashed_email_key: "Another account already has that email address.",
  users_username_check:
    "A username is 2 to 100 of a-z, 0-9, _, . and -, and begins and ends with a letter or digit.",
  users_email_check: "The email address is not valid.",
};

function explainRegistration(error: pg.DatabaseError): never {
  const message = REGISTRATION_ERRORS[error.constraint ?? ""];
  if (message) throw new PlinthError("BAD_USER_INPUT", message, { cause: error });
  throw error;
}

async function grantRole(username: string, role: string, flags: GrantFlags): Promise<void> {
  for (const flag of ["expires", "reason"] as const)
    if (flags.revoke && flags[flag]) throw new UsageError(`Use either --revoke or --${flag}, not both.`);
  await withSession(({ database }) =>
    withClient(database, "owner", async (client) => {
      const userId = await findUser(client, username);
      if (!flags.revoke) await assertRole(client, role);
      if (flags.revoke)
        await client.query("select access.revoke_role($1, $2)", [userId, role]).catch(explainRole);
      else
        await client
          .query("select access.grant_role($1, $2, $3, $4)", [
            userId,
            role,
            flags.expires ?? null,
            flags.reason ?? null,
          ])
          .catch(explainRole);
    }),
  );
  const until = flags.expires ? ` until ${flags.expires}` : "";
  if (flags.json) printJson({ username, role, granted: !flags.revoke, expires: flags.expires ?? null });
  else
    print(
      flags.revoke
        ? `${username} no longer has the role ${role}.`
        : `${username} has the role ${role}${until}.`,
    );
}

async function assertRole(client: pg.Client, role: string): Promise<void> {
  const { rows } = await client.query<{ role_name: string }>(
    "select role_name from access.roles order by role_name",
  );
  const roles = rows.map(({ role_name }) => role_name);
  if (!roles.includes(role))
    throw new PlinthError("NOT_FOUND", `Unknown role: ${role}. The roles are ${roles.join(", ")}.`);
}

function explainRole(error: pg.DatabaseError): never {
  if (error.code === "PL404") throw new PlinthError("NOT_FOUND", error.message, { cause: error });
  if (error.code === "PL409")
    throw new PlinthError("CONFLICT", error.message, { cause: error, hint: error.hint });
  if (error.constraint === "user_roles_reason_check")
    throw new PlinthError("BAD_USER_INPUT", "A reason must have 1 to 500 characters.", { cause: error });
  if (error.column === "expires_at")
    throw new PlinthError("BAD_USER_INPUT", "The role's expiry time must be in the future.", {
      cause: error,
    });
  throw error;
}

/** Parses a date as midnight UTC. A time must include its zone: a guessed zone would be wrong for part of the year. */
function isoTime(text: string): string {
  const [, day, time] =
    /^(\d{4}-\d{2}-\d{2})(T\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:\d{2}))?$/.exec(text) ?? [];
  const midnight = new Date(`${day}T00:00:00Z`);
  const value = new Date(`${day}${time ?? "T00:00:00Z"}`);
  // Date parses the 30th of February as a day in March.
  const exists = !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(`${day}T`);
  if (!exists || Number.isNaN(value.getTime()))
    throw new InvalidArgumentError(
      "It must be a date such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z.",
    );
  return value.toISOString();
}
