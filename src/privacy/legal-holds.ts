import type pg from "pg";
import { PlinthError } from "../support/errors.ts";

export interface LegalHold {
  readonly id: string;
  readonly username: string;
  readonly reason: string;
  readonly placedAt: Date;
}

/** @throws PlinthError CONFLICT, BAD_USER_INPUT */
export async function placeHold(client: pg.Client, userId: string, reason: string): Promise<string> {
  const { rows } = await client
    .query<{ id: string }>("select private.place_legal_hold($1, $2) as id", [userId, reason])
    .catch(explain);
  return rows[0]!.id;
}

/** @throws PlinthError NOT_FOUND */
export async function releaseHold(client: pg.Client, userId: string): Promise<string> {
  const { rows } = await client
    .query<{ id: string }>("select private.release_legal_hold($1) as id", [userId])
    .catch(explain);
  return rows[0]!.id;
}

/** Returns the holds in force. */
export async function listHolds(client: pg.Client): Promise<LegalHold[]> {
  const { rows } = await client.query<LegalHold>(
    `select h.id, u.username, h.reason, h.created_at as "placedAt"
     from security.legal_holds h
     join identity.users u on u.id = h.user_id
     where h.released_at is null
     order by h.created_at, h.id`,
  );
  return rows;
}

function explain(error: pg.DatabaseError): never {
  if (error.code === "PL404") throw new PlinthError("NOT_FOUND", error.message, { cause: error });
  if (error.code === "PL409")
    throw new PlinthError("CONFLICT", error.message, {
      hint: "plinth privacy hold --list prints the holds.",
      cause: error,
    });
  if (error.constraint === "legal_holds_reason_check")
    throw new PlinthError("BAD_USER_INPUT", "A reason must have 1 to 500 characters.", { cause: error });
  throw error;
}
