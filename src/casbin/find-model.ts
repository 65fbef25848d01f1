import type pg from "pg";
import { PlinthError } from "../support/errors.ts";

/**
 * @returns the definition of a stored model
 * @throws PlinthError NOT_FOUND
 */
export async function findModel(client: pg.ClientBase, name: string): Promise<string> {
  const { rows } = await client.query<{ name: string; definition: string }>(
    "select name, definition from access.casbin_models order by name",
  );
  const found = rows.find((row) => row.name === name);
  if (found) return found.definition;
  throw new PlinthError("NOT_FOUND", `Unknown model: ${name}.`, {
    hint:
      rows.length === 0
        ? "Import one with plinth access import --model model.conf."
        : `The models are ${rows.map((row) => row.name).join(", ")}.`,
  });
}
