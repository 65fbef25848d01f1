import type pg from "pg";
import type { SealingPurpose } from "../auth/sealing.ts";

/** A text column of secrets sealed with a master key (see src/auth/sealing.ts); null in rows without a secret. */
export interface SealedColumn {
  /** With its schema. */
  readonly table: string;
  /** The primary key, one column. */
  readonly id: string;
  readonly column: string;
  readonly purpose: SealingPurpose;
  /** The column whose text is bound into the seal; absent for secrets sealed without an owner. */
  readonly owner?: string;
}

/** All sealed columns. A new sealed column must be added here, or its secrets are lost when an old master key is dropped. */
export const SEALED_COLUMNS: readonly SealedColumn[] = [
  { table: "private.user_keys", id: "id", column: "wrapped_key", purpose: "user key", owner: "user_id" },
  { table: "private.lookup_keys", id: "name", column: "sealed_key", purpose: "lookup key", owner: "name" },
  { table: "private.totp_secrets", id: "factor_id", column: "sealed_secret", purpose: "totp secret" },
  { table: "private.oauth_tokens", id: "profile_id", column: "access_token_sealed", purpose: "oauth token" },
  { table: "private.oauth_tokens", id: "profile_id", column: "refresh_token_sealed", purpose: "oauth token" },
  {
    table: "private.model_provider_keys",
    id: "provider_id",
    column: "sealed_key",
    purpose: "model key",
    owner: "provider_id",
  },
  {
    table: "private.user_model_keys",
    id: "user_id",
    column: "sealed_key",
    purpose: "model key",
    owner: "user_id",
  },
  { table: "private.oauth_states", id: "id", column: "secrets_sealed", purpose: "oauth flow" },
];

/** The number of secrets in a column that are sealed with one version of the master keys. */
export interface SealedCount {
  readonly table: string;
  readonly column: string;
  /** Null for text that is not sealed at all. */
  readonly version: number | null;
  readonly count: number;
}

/** SQL for the version in the text. Column names are constants, so they need no quoting. */
export const versionOf = (column: string): string => `substring(${column} from '^v([0-9]+)[.]')::integer`;

/**
 * Counts the sealed secrets by column and version.
 * @param client connected as the owner
 */
export async function countSealed(
  client: pg.ClientBase,
  columns: readonly SealedColumn[] = SEALED_COLUMNS,
): Promise<SealedCount[]> {
  const counts: SealedCount[] = [];
  for (const { table, column } of columns) {
    const { rows } = await client.query<{ version: number | null; count: string }>(
      `select ${versionOf(column)} as version, count(*) from ${table} where ${column} is not null group by 1 order by 1`,
    );
    for (const { version, count } of rows) counts.push({ table, column, version, count: Number(count) });
  }
  return counts;
}
