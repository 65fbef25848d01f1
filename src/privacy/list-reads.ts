import type pg from "pg";
import { findUser } from "../database/find-user.ts";

/** A read of one person's data. */
export interface PersonalDataRead {
  readonly at: Date;
  /** Name of the account that read, or the database role of a command. */
  readonly reader: string;
  readonly roles: readonly string[];
  readonly origin: string;
  readonly operation: string | null;
  readonly relations: readonly string[];
  readonly rows: number | null;
  readonly reason: string | null;
}

/**
 * Returns the latest reads of a person's data, newest first.
 * @param client connected as the owner
 * @throws PlinthError USER_NOT_FOUND
 */
export async function listReads(
  client: pg.ClientBase,
  username: string,
  last: number,
): Promise<PersonalDataRead[]> {
  const { rows } = await client.query<PersonalDataRead>(
    `select
       r.created_at as at, coalesce(u.username, r.source) as reader, r.actor_roles as roles, r.origin, r.operation,
       r.relations, r.row_count::float8 as rows, r.reason
     from security.personal_data_reads r
     left join identity.users u on u.id = r.actor_id
     where r.user_id = $1
     order by r.created_at desc, r.id desc
     limit $2`,
    [await findUser(client, username), last],
  );
  return rows;
}
