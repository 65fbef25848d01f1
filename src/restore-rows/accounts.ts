import type pg from "pg";
import { writtenStates } from "./classify.ts";
import type { Stage } from "./staging.ts";

/** Returns the accounts that a restore writes. */
export async function findAccounts(
  live: pg.Client,
  stages: ReadonlyMap<string, Stage>,
  overwrite: boolean,
): Promise<readonly string[]> {
  const found = new Set<string>();
  for (const [table, column] of [
    ["identity.users", "id"],
    ["identity.user_sessions", "user_id"],
    ["identity.api_tokens", "user_id"],
  ] as const) {
    const stage = stages.get(table);
    if (!stage) continue;
    const { rows } = await live.query<{ id: string }>(
      `select distinct ${column} as id from ${stage.name} where "plinth:state" = any ($1)`,
      [writtenStates(overwrite)],
    );
    for (const { id } of rows) found.add(id);
  }
  return [...found];
}

/** The highest version of each account's tokens, read before an older row can replace it. */
export async function readTokenVersions(
  live: pg.Client,
  accounts: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  const { rows } = await live.query<{ id: string; version: number }>(
    "select id, token_version as version from identity.users where id = any ($1)",
    [accounts],
  );
  return new Map(rows.map(({ id, version }) => [id, version]));
}

/**
 * Ends the sessions of restored accounts and revokes their tokens: any of them may have been revoked after the copy was made. A version
 * far ahead also revokes tokens of versions that the copy does not know. Triggers must be enabled.
 */
export async function revokeAccess(
  live: pg.Client,
  accounts: readonly string[],
  versions: ReadonlyMap<string, number>,
): Promise<void> {
  for (const account of accounts) {
    await live.query(
      "update identity.user_sessions set ended_at = now(), end_reason = 'logout_everywhere' where user_id = $1 and ended_at is null",
      [account],
    );
    await live.query(
      "delete from private.token_blacklist where kind = 'user' and subject_id = $1 and reason = 'account_deleted'",
      [account],
    );
    await live.query(
      "update identity.users set token_version = greatest(token_version, $2::integer) + 1000 where id = $1",
      [account, versions.get(account) ?? 0],
    );
  }
}
