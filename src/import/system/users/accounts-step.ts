import { availableParallelism } from "node:os";
import pLimit from "p-limit";
import { isKnownPasswordHash } from "../../../auth/foreign-password-hash.ts";
import { hashName } from "../../../auth/hashed-name.ts";
import { PlinthError } from "../../../support/errors.ts";
import {
  type AnyStep,
  type Call,
  type Columns,
  type Context,
  defineStep,
  type Pending,
  type Target,
} from "../mapping.ts";
import type { Account, AccountSource } from "./account.ts";
import { accountValues } from "./account-values.ts";
import { chooseEmails } from "./addresses.ts";
import { passwordAsIs, passwordToStore } from "./password.ts";
import { sharedPhones } from "./phones.ts";
import type { Prepared } from "./prepared.ts";
import { rolesCall } from "./roles-call.ts";
import { chooseUsernames } from "./usernames.ts";

const TARGETS: readonly (Target | Call)[] = [
  {
    table: "identity.users",
    write: "insert",
    // The account's use changes them.
    unverified: ["last_login_at", "failed_login_attempts", "locked_until", "token_version", "updated_at"],
  },
  { table: "identity.user_settings", write: "update", by: ["user_id"], unverified: ["updated_at"] },
  { table: "private.user_passwords", write: "insert", unverified: ["updated_at"] },
  rolesCall,
];

/**
 * The step that every system begins with: accounts with their login name, address, password hash, state, times, settings and the role
 * `user`, as registration gives it.
 */
export function accountsStep<const C extends Columns>(source: AccountSource<C>): AnyStep {
  const { account: accountOf, ...step } = source;
  return defineStep<C, Prepared>({
    ...step,
    targets: TARGETS,
    prepare: (rows, context) =>
      prepare(
        rows.map(({ key, row, rowId }) => ({ key, rowId, ...accountOf(row) })),
        context,
      ),
    map: (row, prepared, { key }) => accountValues(accountOf(row), prepared, source.relation, key),
  });
}

type PendingAccount = Account & Pick<Pending<unknown>, "key" | "rowId">;

async function prepare(accounts: readonly PendingAccount[], context: Context): Promise<Prepared> {
  const { client, emailHasher, privacyMode } = context;
  const storedName = async (name: string): Promise<string> => {
    if (!privacyMode) return name;
    if (emailHasher) return hashName(emailHasher, name);
    throw new PlinthError("MASTER_KEYS_MISSING", "Privacy mode needs PLINTH_MASTER_KEYS to hash names.");
  };
  const names = await chooseUsernames(client, accounts, storedName);
  const emails = await chooseEmails(
    context,
    accounts.flatMap(({ key, rowId, email }) => (email ? [{ key, rowId, email }] : [])),
  );
  const phones = await sharedPhones(client, accounts);
  const passwords = await choosePasswords(accounts, context);
  const { rows } = await client.query<{ id: string; role_name: string }>(
    "select r.id, r.role_name from access.roles r",
  );
  const roles = new Map(rows.map(({ id, role_name }) => [role_name, id]));
  return { names, emails, phones, passwords, roles, privacyMode };
}

const hasPassword = (password: Account["password"], salt: Context["salt"]): boolean =>
  Boolean(password?.hash) && isKnownPasswordHash({ ...salt, ...password! });

/**
 * Hashes in parallel, because some formats cost 50 ms of a processor each. An account that is here already has its password: it is
 * compared until it changes, as at the first sign-in, and unless its hash was wrapped, which gives another text each time.
 */
async function choosePasswords(
  accounts: readonly PendingAccount[],
  { client, system, salt }: Context,
): Promise<Prepared["passwords"]> {
  const { rows } = await client.query<{ user_id: string; is_as_imported: boolean }>(
    `select p.user_id,
       p.hash_algorithm <> 'wrapped' and exists (
         select from plinth.external_ids e
         where e.system = $2 and e.user_id = p.user_id and e.row_id = p.user_id and e.created_at >= p.updated_at
       ) as is_as_imported
     from private.user_passwords p
     where p.user_id = any ($1)`,
    [accounts.flatMap(({ rowId }) => rowId ?? []), system],
  );
  const here = new Map(rows.map(({ user_id, is_as_imported }) => [user_id, is_as_imported]));
  const limit = pLimit(availableParallelism());
  const passwords = await Promise.all(
    accounts.map(({ key, rowId, password }) =>
      limit(async () => {
        const isAsImported = rowId === undefined ? undefined : here.get(rowId);
        if (isAsImported && password?.hash)
          return [key, passwordAsIs({ ...salt, ...password }) ?? {}] as const;
        // Where it is missing, too: the row that has no value to compare shows it.
        if (rowId !== undefined) return [key, hasPassword(password, salt) ? {} : undefined] as const;
        return [key, password?.hash ? await passwordToStore({ ...salt, ...password }) : undefined] as const;
      }),
    ),
  );
  return new Map(passwords);
}
