import type pg from "pg";
import { PlinthError } from "../support/errors.ts";

/**
 * Returns the id of the account with this name, as typed on a command line.
 * @param client connected as the owner
 * @throws PlinthError USER_NOT_FOUND
 */
export async function findUser(client: pg.ClientBase, username: string): Promise<string> {
  const { rows } = await client.query<{ id: string }>(
    "select id from identity.users where username = plinth.normalize_username($1)",
    [username],
  );
  if (!rows[0]) throw new PlinthError("USER_NOT_FOUND", `No account is named ${username}.`);
  return rows[0].id;
}
