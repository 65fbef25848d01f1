import type pg from "pg";
import { asJson, findFaults, newRules, type PlacedRule } from "./find-faults.ts";
import { findModel } from "./find-model.ts";
import type { CasbinRule } from "./parse-policy.ts";
import type { CasbinFiles, FileFault } from "./read-files.ts";

export interface ImportPolicyOptions {
  /** Connected as the owner, and not in a transaction. */
  readonly client: pg.ClientBase;
  /** Name of the model in the database. */
  readonly name: string;
  /** Whether to keep the model's rules; otherwise they are replaced. */
  readonly append?: boolean;
  /** Whether to roll everything back. */
  readonly dryRun?: boolean;
}

export interface ImportPolicySummary {
  readonly model: string;
  /** The version that the import made; null if nothing differed. */
  readonly version: number | null;
  /** Rules. */
  readonly added: number;
  readonly removed: number;
  /** The first 1,000, in the order of their lines. If there is any, nothing was written. */
  readonly faults: readonly FileFault[];
}

/**
 * Writes a model and its rules as one version, or nothing.
 * @throws PlinthError NOT_FOUND if no model is given and none is stored under the name
 */
export async function importPolicy(
  files: CasbinFiles,
  options: ImportPolicyOptions,
): Promise<ImportPolicySummary> {
  const { client } = options;
  await client.query("begin");
  try {
    const summary = await write(files, options);
    await client.query(summary.faults.length > 0 || options.dryRun ? "rollback" : "commit");
    return summary;
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw error;
  }
}

async function write(files: CasbinFiles, options: ImportPolicyOptions): Promise<ImportPolicySummary> {
  const { client, name: model } = options;
  // Rules that another transaction adds at this moment must neither be lost nor escape the check.
  await client.query("select private.casbin_lock()");
  const definition = files.model?.definition ?? (await findModel(client, model));
  const isReplaced = files.policy !== undefined && !options.append;
  const stored = isReplaced ? [] : await readRules(client, model);
  const added = newRules(files, stored);
  const faults = await findFaults(client, definition, files, [...stored, ...added]);
  if (faults.length > 0) return { model, version: null, added: 0, removed: 0, faults };
  const version = await (isReplaced ? replace : extend)(client, model, definition, added);
  return { model, ...(await readChanges(client, version)), faults };
}

/** @returns the new version, or null if nothing differs */
async function replace(
  client: pg.ClientBase,
  model: string,
  definition: string,
  rules: readonly CasbinRule[],
): Promise<number | null> {
  const { rows } = await client.query<{ version: number | null }>(
    "select version::int as version from access.replace_casbin_policy($1, $2, $3)",
    [model, definition, asJson(rules)],
  );
  return rows[0]!.version;
}

/** Like replace(), but keeps the stored rules. */
async function extend(
  client: pg.ClientBase,
  model: string,
  definition: string,
  rules: readonly CasbinRule[],
): Promise<number | null> {
  const known = await client.query("select from access.casbin_models where name = $1 and definition = $2", [
    model,
    definition,
  ]);
  if (known.rowCount === 1 && rules.length === 0) return null;
  const { rows } = await client.query<{ version: number }>(
    "select private.casbin_open_version('')::int as version",
  );
  await client.query(
    `insert into access.casbin_models as m (name, definition) values ($1, $2)
     on conflict (name) do update set definition = excluded.definition
     where m.definition <> excluded.definition`,
    [model, definition],
  );
  await client.query(
    `insert into access.casbin_rules (model_name, ptype, v0, v1, v2, v3, v4, v5)
     select $1, r ->> 0, r ->> 1, r ->> 2, r ->> 3, r ->> 4, r ->> 5, r ->> 6
     from jsonb_array_elements($2) with ordinality x (r, place)
     order by place`,
    [model, asJson(rules)],
  );
  return rows[0]!.version;
}

async function readRules(client: pg.ClientBase, model: string): Promise<PlacedRule[]> {
  const { rows } = await client.query<{ id: string; rule: string[] }>(
    `select id, array_remove(array[ptype, v0, v1, v2, v3, v4, v5], null) as rule
     from access.casbin_rules
     where model_name = $1
     order by id`,
    [model],
  );
  return rows.map(({ id, rule: [ptype = "", ...values] }) => ({ file: `stored rule ${id}`, ptype, values }));
}

async function readChanges(client: pg.ClientBase, version: number | null) {
  const { rows } = await client.query<{ added: number; removed: number }>(
    `select
       count(*) filter (where old_values is null)::int as added,
       count(*) filter (where new_values is null)::int as removed
     from access.casbin_changes
     where version = $1 and rule_id is not null`,
    [version],
  );
  return { version, ...rows[0]! };
}
