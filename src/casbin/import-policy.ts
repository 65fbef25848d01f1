import type pg from "pg";
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
  readonly added: number;
  readonly removed: number;
  readonly unchanged: number;
  /** The first 1,000. If there is any, nothing was written. */
  readonly faults: readonly FileFault[];
}

/** Faults that are reported at most. */
const LISTED = 1_000;

/**
 * Writes a model and its rules in one transaction: all or nothing.
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
  const { client, name } = options;
  const { model, policy } = files;
  // Two imports at the same time would mix their rules.
  await client.query("select pg_advisory_xact_lock(hashtext('plinth access import'))");
  const isChanged = model ? !(await hasDefinition(client, name, model.definition)) : false;
  if (!model) await findModel(client, name);
  const stored = await readRules(client, name);
  const plan = policy ? planOf(stored, policy.rules, options.append === true, isChanged) : NOTHING;
  await client.query("delete from access.casbin_rules where id = any ($1::bigint[])", [plan.removed]);
  const faults = [...files.faults];
  if (model && isChanged) faults.push(...(await saveModel(client, name, model)));
  if (policy && faults.length === files.faults.length)
    faults.push(...(await addRules(client, name, policy.file, plan.added)));
  return {
    model: name,
    added: plan.added.length,
    removed: plan.removed.length,
    unchanged: stored.length - plan.removed.length,
    faults: faults.slice(0, LISTED),
  };
}

async function hasDefinition(client: pg.ClientBase, name: string, definition: string): Promise<boolean> {
  const { rowCount } = await client.query(
    "select from access.casbin_models where name = $1 and definition = $2",
    [name, definition],
  );
  return rowCount === 1;
}

interface StoredRule {
  readonly id: string;
  /** Type and values as one text, to compare rules by; undefined for an inactive rule. */
  readonly key: string | undefined;
}

async function readRules(client: pg.ClientBase, name: string): Promise<StoredRule[]> {
  const { rows } = await client.query<{ id: string; parts: string[]; isActive: boolean }>(
    `select id, array_remove(array[ptype, v0, v1, v2, v3, v4, v5], null) as parts, is_active as "isActive"
     from access.casbin_rules
     where model_name = $1
     order by id`,
    [name],
  );
  return rows.map(({ id, parts, isActive }) => ({ id, key: isActive ? JSON.stringify(parts) : undefined }));
}

/** Rules to delete by their ids, and rules to insert. */
interface Plan {
  readonly removed: readonly string[];
  readonly added: readonly CasbinRule[];
}

const NOTHING: Plan = { removed: [], added: [] };

/**
 * The order of rules matters to some models, and it is that of their ids. Rules at the start of the file that are stored in
 * the same order stay; the rest is written again.
 */
function planOf(
  stored: readonly StoredRule[],
  rules: readonly CasbinRule[],
  append: boolean,
  rewrite: boolean,
): Plan {
  const keyOf = ({ ptype, values }: CasbinRule) => JSON.stringify([ptype, ...values]);
  if (append) {
    const known = new Set(stored.map(({ key }) => key));
    return { removed: [], added: rules.filter((rule) => !known.has(keyOf(rule))) };
  }
  const removed: string[] = [];
  let kept = 0;
  for (const { id, key } of stored)
    if (!rewrite && kept < rules.length && key === keyOf(rules[kept]!)) kept += 1;
    else removed.push(id);
  return { removed, added: rules.slice(kept) };
}

async function saveModel(
  client: pg.ClientBase,
  name: string,
  { file, definition }: NonNullable<CasbinFiles["model"]>,
): Promise<FileFault[]> {
  const error = await tryQuery(
    client,
    `insert into access.casbin_models as m (name, definition) values ($1, $2)
     on conflict (name) do update set definition = excluded.definition`,
    [name, definition],
  );
  return error ? [faultOf(error, file)] : [];
}

/** The largest number of rules in one statement while faults are looked for. */
const CHUNK = 500;

/** Adds the rules in one statement or, if any is refused, reports those that are. */
async function addRules(
  client: pg.ClientBase,
  name: string,
  file: string,
  rules: readonly CasbinRule[],
): Promise<FileFault[]> {
  if (rules.length === 0 || !(await tryInsert(client, name, rules))) return [];
  const faults: FileFault[] = [];
  for (let start = 0; start < rules.length && faults.length < LISTED; start += CHUNK) {
    const chunk = rules.slice(start, start + CHUNK);
    if (!(await tryInsert(client, name, chunk))) continue;
    for (const rule of chunk) {
      const error = await tryInsert(client, name, [rule]);
      if (error) faults.push({ ...faultOf(error, file), line: rule.line });
    }
  }
  return faults;
}

function tryInsert(client: pg.ClientBase, name: string, rules: readonly CasbinRule[]) {
  return tryQuery(
    client,
    `insert into access.casbin_rules (model_name, ptype, v0, v1, v2, v3, v4, v5)
     select $1, r ->> 0, r ->> 1, r ->> 2, r ->> 3, r ->> 4, r ->> 5, r ->> 6
     from jsonb_array_elements($2) with ordinality x (r, place)
     order by place`,
    [name, JSON.stringify(rules.map(({ ptype, values }) => [ptype, ...values]))],
  );
}

/** Runs a statement that the database may refuse. Undoes it and returns the error if it does. */
async function tryQuery(
  client: pg.ClientBase,
  sql: string,
  values: unknown[],
): Promise<pg.DatabaseError | undefined> {
  await client.query("savepoint casbin");
  try {
    await client.query(sql, values);
    await client.query("release savepoint casbin");
    return undefined;
  } catch (error) {
    const { code = "" } = error as pg.DatabaseError;
    // Rules that the grammar refuses, values that are too long or no text, and names of models that a check refuses.
    if (!/^(PL422|22|23514)/.test(code)) throw error;
    await client.query("rollback to savepoint casbin");
    return error as pg.DatabaseError;
  }
}

/** Reads the place from a message such as "matchers, line 12, column 5: …". */
function faultOf({ message }: pg.DatabaseError, file: string): FileFault {
  const [, section, line, column, reason] = /^(.*), line (\d+), column (\d+): (.*)$/s.exec(message) ?? [];
  if (section === undefined) return { file, line: 1, reason: message };
  return { file, line: Number(line), column: Number(column), reason: `${section}: ${reason}` };
}
