import type pg from "pg";
import { findUser } from "../database/find-user.ts";
import { PlinthError } from "../support/errors.ts";
import type { Catalogue } from "./catalogue.ts";
import { NEVER_RESTORED } from "./exceptions.ts";
import type { Root } from "./staging.ts";

/** The target of a restore: a user or a room with all that belongs to it, or rows of one table alone. */
export type Scope =
  | { readonly user: string }
  | { readonly room: string }
  | { readonly table: string; readonly where?: string | undefined };

/** Finds the scope in the copy. @throws PlinthError USER_NOT_FOUND, ROOM_NOT_FOUND, TABLE_NOT_FOUND, TABLE_NOT_RESTORED */
export async function findRoot(copy: pg.Client, catalogue: Catalogue, scope: Scope): Promise<Root> {
  if ("user" in scope) return byId("identity.users", await findUser(copy, scope.user));
  if ("room" in scope) return byId("rooms.chat_rooms", await findRoom(copy, scope.room));
  const { rows } = await copy.query<{ name: string }>(
    "select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass($1)",
    [scope.table],
  );
  const name = rows[0]?.name;
  if (name === undefined || !catalogue.tables.has(name))
    throw new PlinthError(
      "TABLE_NOT_FOUND",
      `The copy has no table ${scope.table} of Plinth or the application.`,
      {
        hint: "Give the schema and the name, such as rooms.chat_rooms; a partition is restored through its parent.",
      },
    );
  if (NEVER_RESTORED.has(name))
    throw new PlinthError(
      "TABLE_NOT_RESTORED",
      `Rows of ${name} are not restored: they would act a second time.`,
    );
  return { table: name, where: scope.where ? `(${scope.where})` : null, values: [], withOwned: false };
}

const byId = (table: string, id: string): Root => ({
  table,
  where: "t.id = $1::uuid",
  values: [id],
  withOwned: true,
});

async function findRoom(copy: pg.Client, room: string): Promise<string> {
  const { rows } = await copy.query<{ id: string }>(
    "select id from rooms.chat_rooms where id::text = lower($1) or name = $1 order by id limit 6",
    [room],
  );
  if (!rows[0]) throw new PlinthError("ROOM_NOT_FOUND", `The copy has no room with the name or id ${room}.`);
  if (rows.length > 1)
    throw new PlinthError("ROOM_AMBIGUOUS", `Several rooms of the copy are named ${room}.`, {
      hint: `Give an id: ${rows.map(({ id }) => id).join(", ")}.`,
    });
  return rows[0].id;
}
