import type pg from "pg";
import { PlinthError } from "../support/errors.ts";
import type { Statement } from "./certificate.ts";

export interface Erasure {
  /** Null in a plan. */
  readonly certificate: string | null;
  readonly statement: Statement;
}

/**
 * Deletes an account; the triggers do the rest, as for every other statement that deletes it. A plan deletes it too, counts, and
 * takes it back.
 * @param client a connection as the owner
 * @throws PlinthError CONFLICT for a legal hold or the last administrator, INVALID_REFERENCE, USER_NOT_FOUND if the account was
 *   deleted meanwhile
 */
export async function eraseAccount(
  client: pg.Client,
  userId: string,
  { isPlan = false, reference = "" }: { isPlan?: boolean; reference?: string } = {},
): Promise<Erasure> {
  await client.query("begin");
  try {
    await client.query(
      "select set_config('plinth.erasure_requested_by', 'command', true), set_config('plinth.erasure_reference', $1, true)",
      [reference],
    );
    const { rowCount } = await client.query("delete from identity.users where id = $1", [userId]);
    if (rowCount === 0)
      throw new PlinthError("USER_NOT_FOUND", `The account ${userId} was deleted meanwhile.`, {
        hint: "Its certificate is in security.erasure_certificates.",
      });
    // Otherwise the end of the transaction, which a plan does not reach, would be the first to check them.
    await client.query("set constraints all immediate");
    const { rows } = await client.query<{ id: string; statement: Statement }>(
      "select id, statement from security.erasure_certificates where id = current_setting('plinth.erasure_certificate')::uuid",
    );
    await client.query(isPlan ? "rollback" : "commit");
    const { id, statement } = rows[0]!;
    return { certificate: isPlan ? null : id, statement };
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw explain(error as pg.DatabaseError);
  }
}

function explain(error: pg.DatabaseError): Error {
  if (error.code === "PL409")
    return new PlinthError("CONFLICT", error.message, {
      hint: error.message.includes("delayed")
        ? "A legal hold keeps it: plinth privacy hold --list."
        : error.hint,
      cause: error,
    });
  if (error.code === "PL422" && error.message.startsWith("A reference"))
    return new PlinthError("INVALID_REFERENCE", error.message, {
      hint: "Pass the number of a ticket or case, such as REQ-2026/17.",
      cause: error,
    });
  if (error.code === "23503")
    return new PlinthError("CONFLICT", `The table ${error.schema}.${error.table} keeps the account.`, {
      hint: "Give its foreign key on delete cascade or on delete set null; plinth doctor lists all.",
      cause: error,
    });
  return error;
}

/**
 * Returns the accounts that a certificate is about: they were erased, and a restore has brought them back.
 * @param client a connection as the owner
 */
export async function accountsOf(
  client: pg.Client,
  { subject, salt }: Pick<Statement, "subject" | "salt">,
): Promise<string[]> {
  const { rows } = await client.query<{ id: string }>(
    "select id from identity.users where encode(sha256(convert_to($1 || id, 'UTF8')), 'hex') = $2",
    [salt, subject],
  );
  return rows.map(({ id }) => id);
}
