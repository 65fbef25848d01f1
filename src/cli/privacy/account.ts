import type pg from "pg";
import { PlinthError } from "../../support/errors.ts";
import { withClient, withSession } from "../session.ts";

export const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function asOwner<T>(use: (client: pg.Client) => Promise<T>): Promise<T> {
  return withSession(({ database }) => withClient(database, "owner", use));
}

/** @throws PlinthError USER_NOT_FOUND */
export async function accountId(client: pg.Client, user: string): Promise<string> {
  const { findUser } = await import("../../database/find-user.ts");
  if (!UUID.test(user)) return findUser(client, user);
  const { rows } = await client.query<{ id: string }>("select id from identity.users where id = $1", [user]);
  if (!rows[0]) throw new PlinthError("USER_NOT_FOUND", `No account has the id ${user}.`);
  return rows[0].id;
}
