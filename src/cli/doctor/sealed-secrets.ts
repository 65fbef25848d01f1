import { parseMasterKeys } from "../../auth/master-keys.ts";
import { createSealer } from "../../auth/sealing.ts";
import { countSealed, SEALED_COLUMNS } from "../../keys/sealed-columns.ts";
import { findMasterKeys } from "../../start/key-settings.ts";
import { PlinthError } from "../../support/errors.ts";
import { type DoctorContext, type Finding, fail, ok, skipped, warn } from "./check.ts";

/** Checks whether the master keys open all secrets in the database, and whether it contains clear addresses. */
export async function checkSealedSecrets(context: DoctorContext): Promise<Finding[]> {
  const { client, role } = context;
  if (role !== "owner")
    return [skipped("sealed-secrets", "Only the owner can count sealed secrets (PLINTH_OWNER_URL).")];
  // Without the migration, there is nothing to check.
  const { rowCount } = await client.query("select where to_regclass('private.user_keys') is not null");
  return rowCount === 0 ? [] : [await checkVersions(context), await checkAddresses(context)];
}

async function checkVersions({ client, config, database }: DoctorContext): Promise<Finding> {
  const check = "sealed-secrets";
  const counts = await countSealed(client);
  const total = counts.reduce((sum, { count }) => sum + count, 0);
  const keys = readKeys(config, database);
  if (!keys)
    return total === 0
      ? ok(check, "Nothing is sealed yet.")
      : skipped(
          check,
          `${total} secrets are sealed; the master keys are not set here, so they cannot be checked.`,
        );
  const missing = counts.filter(({ version }) => version === null || !keys.versions.includes(version));
  const describe = ({ table, column, version, count }: (typeof counts)[number]) =>
    `${table}.${column}: ${count} under ${version === null ? "no key" : `version ${version}`}`;
  if (missing.length > 0)
    return fail(
      check,
      "Some secrets are sealed with master keys that are not set.",
      "Add these keys back to PLINTH_MASTER_KEYS.",
      missing.map(describe),
    );
  const unopened = await findUnopened(client, keys);
  if (unopened.length > 0)
    return fail(
      check,
      "Some secrets cannot be opened with the master key of their version.",
      "PLINTH_MASTER_KEYS has another key under this version; set the key with which they were sealed.",
      unopened,
    );
  const behind = counts.filter(({ version }) => version !== keys.current);
  if (behind.length > 0)
    return warn(
      check,
      `Some secrets are still sealed with an old master key; the current version is ${keys.current}.`,
      "Run plinth keys rotate.",
      behind.map(describe),
    );
  return ok(check, `All ${total} secrets are sealed with master key version ${keys.current}.`);
}

/** Opens one secret of each column, so that a wrong key with a known version is found. */
async function findUnopened(
  client: DoctorContext["client"],
  keys: ReturnType<typeof parseMasterKeys>,
): Promise<string[]> {
  const sealer = createSealer(keys);
  const unopened: string[] = [];
  for (const { table, column, purpose, owner } of SEALED_COLUMNS) {
    const { rows } = await client.query<{ sealed: string; owner: string | null }>(
      `select ${column} as sealed, ${owner ?? "null"}::text as owner from ${table} where ${column} is not null limit 1`,
    );
    for (const row of rows)
      try {
        sealer.unseal(purpose, row.sealed, owner === undefined ? undefined : (row.owner ?? ""));
      } catch (error) {
        if (!(error instanceof PlinthError)) throw error;
        unopened.push(`${table}.${column}`);
      }
  }
  return unopened;
}

/** Returns undefined for an invalid setting, which another check reports. */
function readKeys(config: DoctorContext["config"], database: DoctorContext["database"]) {
  try {
    const text = findMasterKeys(config, database);
    return text === undefined ? undefined : parseMasterKeys(text);
  } catch (error) {
    if (error instanceof PlinthError) return undefined;
    throw error;
  }
}

async function checkAddresses({ client, config }: DoctorContext): Promise<Finding> {
  const check = "email-hashes";
  const { rows } = await client.query<{ clear: number; unhashed: number; irregular: string[] | null }>(
    `select
       count(*)::integer as clear,
       (count(*) filter (where hashed_email is null and not has_irregular_address))::integer as unhashed,
       array_agg(username order by id) filter (where has_irregular_address) as irregular
     from identity.users where email is not null`,
  );
  const { clear, unhashed, irregular } = rows[0]!;
  if (config.auth.privacyMode && clear > 0)
    return warn(
      check,
      `Privacy mode is on, but ${clear} accounts still have a clear address.`,
      "Run plinth keys hash-emails --forget-addresses.",
    );
  if (irregular)
    return warn(
      check,
      `${irregular.length} accounts have an invalid address, or one that another account has in a different spelling.`,
      "Set another address for each of them. Until then, their users sign in with their username.",
      irregular.slice(0, 20),
    );
  if (unhashed > 0)
    return warn(check, `${unhashed} addresses have no hash yet.`, "Run plinth keys hash-emails.");
  return ok(check, config.auth.privacyMode ? "No account has a clear address." : "Each address has a hash.");
}
