import type pg from "pg";
import { PlinthError } from "../support/errors.ts";
import { findModel } from "./find-model.ts";
import { casbinPolicyLine } from "./format-policy.ts";

/** A model in Casbin's own formats. */
export interface ExportedModel {
  readonly name: string;
  /** Text of the `.conf` file, exactly as it was imported. */
  readonly definition: string;
  /** Text of the CSV file: the active rules in their order. */
  readonly policy: string;
  readonly rules: number;
  /** Number of inactive rules, which the format cannot hold. */
  readonly inactive: number;
}

/**
 * @param client connected as the owner
 * @throws PlinthError NOT_FOUND for an unknown model, NOT_EXPORTABLE for a rule that the CSV format cannot hold
 */
export async function exportPolicy(client: pg.ClientBase, name: string): Promise<ExportedModel> {
  const definition = await findModel(client, name);
  const { rows } = await client.query<{
    id: string;
    ptype: string;
    values: (string | null)[];
    isActive: boolean;
  }>(
    `select id, ptype, array[v0, v1, v2, v3, v4, v5] as values, is_active as "isActive"
     from access.casbin_rules
     where model_name = $1
     order by id`,
    [name],
  );
  const active = rows.filter(({ isActive }) => isActive);
  const lines = active.map(({ id, ptype, values }) => {
    const line = casbinPolicyLine(
      ptype,
      values.filter((value) => value !== null),
    );
    if (line !== undefined) return `${line}\n`;
    throw new PlinthError("NOT_EXPORTABLE", `Casbin's CSV format cannot hold rule ${id}.`, {
      hint: "Remove line breaks, spaces at the ends and unbalanced parentheses from its values.",
    });
  });
  return {
    name,
    definition,
    policy: lines.join(""),
    rules: active.length,
    inactive: rows.length - active.length,
  };
}
