import { createHash } from "node:crypto";
import {
  IMPORTED_EMAIL_RELATION,
  type ImportedEmailAlgorithm,
  keyedEmailId,
} from "../../../auth/imported-email-hash.ts";
import type { AnyStep, Context, Mapped, Pending, Row, Target } from "../mapping.ts";
import { ref } from "../references.ts";
import { accountsStep } from "../users/accounts-step.ts";
import { createLosses } from "./text.ts";

/** The hash of an address, which the first use of the address replaces by Plinth's own; see imported-email-hash.ts. */
const HASHED_EMAIL: Target = {
  table: "plinth.external_ids",
  write: "insert",
};

interface Options {
  /** The hash function of addresses, if the operator has named it. */
  readonly emailAlgorithm: ImportedEmailAlgorithm | undefined;
  readonly isAllowedEndpoint: (address: string) => boolean;
}

/** Accounts, the model that they connected, and the hash of their address. */
export function usersStep(options: Options): AnyStep {
  const accounts = accountsStep({
    relation: "users",
    key: ["id"],
    columns: {
      id: "id",
      username: "text",
      hashed_password: "text?",
      hashed_email: "text?",
      hashed_name: "text?",
      llm_provider: "text?",
      llm_endpoint: "text?",
      llm_model: "text?",
      created_at: "time?",
      updated_at: "time?",
    },
    account(row) {
      const { losses, lose } = createLosses();
      const endpoint =
        row.llm_endpoint && options.isAllowedEndpoint(row.llm_endpoint) ? row.llm_endpoint : null;
      if (row.llm_endpoint && !endpoint)
        lose("llm_endpoint", "is not an address that this server may connect to");
      const short = (column: "llm_provider" | "llm_model", maxLength: number): string | null => {
        const value = row[column] || null;
        if (value === null || value.length <= maxLength) return value;
        lose(column, `has more than ${maxLength} characters`);
        return null;
      };
      return {
        name: row.username,
        password: row.hashed_password ? { hash: row.hashed_password } : null,
        metadata: row.hashed_name ? { hashed_name: row.hashed_name } : null,
        llm: { provider: short("llm_provider", 100), endpoint, model: short("llm_model", 200) },
        createdAt: row.created_at,
        updatedAt: row.updated_at,
        losses,
      };
    },
  });
  return {
    ...accounts,
    targets: [...accounts.targets, HASHED_EMAIL],
    async prepare(rows: readonly Pending<Row>[], context: Context) {
      return {
        accounts: await accounts.prepare!(rows, context),
        emails: await emailsOf(rows, context, options),
      };
    },
    async map(row: Row, { accounts: prepared, emails }, pending) {
      const mapped = await accounts.map(row, prepared, pending);
      if ("omitted" in mapped) return mapped;
      return withEmail(mapped, emails.get(pending.key), pending.key);
    },
  } as AnyStep;
}

/** The stored form of a hash, the reason that there is none, or null for an account that does not need one. */
type StoredHash = { readonly id: string } | { readonly reason: string } | null;

const SHARED = "is the hash of another account's address";

async function emailsOf(
  rows: readonly Pending<Row>[],
  { client, system, emailHasher }: Context,
  { emailAlgorithm }: Options,
): Promise<Map<string, StoredHash>> {
  const { rows: adopted } = await client.query<{ id: string }>(
    "select u.id from identity.users u where u.id = any ($1) and u.hashed_email is not null",
    [rows.flatMap(({ rowId }) => rowId ?? [])],
  );
  const done = new Set(adopted.map(({ id }) => id));
  const owners = new Map<string, readonly string[]>();
  const inBatch = new Set<string>();
  const stored = new Map<string, StoredHash>();
  for (const { key, row, rowId } of rows) {
    const hash = row.hashed_email as string | null;
    if (!hash || (rowId !== undefined && done.has(rowId))) stored.set(key, null);
    else if (!emailHasher) stored.set(key, { reason: "needs PLINTH_MASTER_KEYS" });
    else if (!emailAlgorithm)
      stored.set(key, { reason: "needs --email-hash, which says how addresses were hashed" });
    else if (!/^([0-9a-f]{2}){16,64}$/i.test(hash))
      stored.set(key, { reason: "is not a hash in hexadecimal" });
    // No address would ever match it.
    else if (hash.length !== createHash(emailAlgorithm).digest("hex").length)
      stored.set(key, { reason: `has not the length of ${emailAlgorithm}` });
    else stored.set(key, { id: await keyedEmailId(emailHasher, hash.toLowerCase()) });
  }
  const ids = [...stored.values()].flatMap((each) => (each && "id" in each ? each.id : []));
  const { rows: taken } = await client.query<{ external_id: string; owners: string[] }>(
    `select e.external_id, array[e.row_id, e.user_id] as owners from plinth.external_ids e
     where e.system = $1 and e.relation = $2 and e.external_id = any ($3)`,
    [system, IMPORTED_EMAIL_RELATION, ids],
  );
  for (const each of taken) owners.set(each.external_id, each.owners);
  for (const { key, rowId } of rows) {
    const each = stored.get(key);
    if (!each || !("id" in each)) continue;
    const isTaken =
      rowId === undefined ? owners.has(each.id) : owners.get(each.id)?.includes(rowId) === false;
    if (isTaken || inBatch.has(each.id)) stored.set(key, { reason: SHARED });
    inBatch.add(each.id);
  }
  return stored;
}

function withEmail(mapped: Mapped, stored: StoredHash | undefined, key: string): Mapped {
  const values =
    stored && "id" in stored
      ? {
          system: "socializer",
          relation: IMPORTED_EMAIL_RELATION,
          external_id: stored.id,
          row_id: ref("users", key),
          user_id: ref("users", key),
        }
      : null;
  const losses = stored && "reason" in stored ? [{ column: "hashed_email", reason: stored.reason }] : [];
  return { values: [...mapped.values, values], losses: [...(mapped.losses ?? []), ...losses] };
}
