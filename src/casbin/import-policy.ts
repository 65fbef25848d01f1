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
  /** The version that the import made; null if nothing differed. */
  readonly version: number | null;
  /** Rules. */
  readonly added: number;
  readonly removed: number;
  /** The first 1,000, in the order of their lines. If there is any, nothing was written. */
  readonly faults: readonly FileFault[];
}

/** Faults that are reported at most. */
const LISTED = 1_000;

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
  const { client, name: model, append = false } = options;
  // Otherwise rules that another transaction adds at this moment would be lost.
  await client.query("select private.casbin_lock()");
  const definition = files.model?.definition ?? (await findModel(client, model));
  const stored = await readRules(client, model);
  const rules = files.policy ? merge(append ? stored : [], files.policy.rules) : stored;
  const replaced =
    files.faults.length > 0
      ? undefined
      : await tryQuery<{ version: number | null }>(
          client,
          "select version::int as version from access.replace_casbin_policy($1, $2, $3)",
          [model, definition, JSON.stringify(rules)],
        );
  if (replaced?.rows) return { model, ...(await readChanges(client, replaced.rows[0]!.version)), faults: [] };
  const faults = await findFaults(files, { client, model, definition });
  return { model, version: null, added: 0, removed: 0, faults };
}

/** Rules as lists of their type and values. */
type Rules = readonly (readonly string[])[];

async function readRules(client: pg.ClientBase, model: string): Promise<Rules> {
  const { rows } = await client.query<{ rule: string[] }>(
    `select array_remove(array[ptype, v0, v1, v2, v3, v4, v5], null) as rule
     from access.casbin_rules
     where model_name = $1 and is_active
     order by id`,
    [model],
  );
  return rows.map(({ rule }) => rule);
}

/** The stored rules, followed by those that are new. */
function merge(stored: Rules, rules: readonly CasbinRule[]): Rules {
  const known = new Set(stored.map((rule) => JSON.stringify(rule)));
  const given = rules.map(({ ptype, values }) => [ptype, ...values]);
  return [...stored, ...given.filter((rule) => !known.has(JSON.stringify(rule)))];
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

/** Everything that is refused, in the order of the lines. */
async function findFaults(
  { model: file, policy, faults }: CasbinFiles,
  { client, model, definition }: { client: pg.ClientBase; model: string; definition: string },
): Promise<FileFault[]> {
  await client.query("delete from access.casbin_rules where model_name = $1", [model]);
  const ofModel = await saveModel(client, model, { file: file?.file ?? "", definition });
  const ofRules = policy && ofModel.length === 0 ? await addRules(client, model, policy) : [];
  return [...ofModel, ...[...faults, ...ofRules].sort((a, b) => a.line - b.line)].slice(0, LISTED);
}

async function saveModel(
  client: pg.ClientBase,
  model: string,
  { file, definition }: NonNullable<CasbinFiles["model"]>,
): Promise<FileFault[]> {
  const { error } = await tryQuery(
    client,
    `insert into access.casbin_models as m (name, definition) values ($1, $2)
     on conflict (name) do update set definition = excluded.definition`,
    [model, definition],
  );
  return error ? [faultOf(error, file)] : [];
}

/** Rules of one statement. Only if it is refused, they are tried one by one. */
const CHUNK = 500;

/** Adds the rules and reports those that are refused. */
async function addRules(
  client: pg.ClientBase,
  model: string,
  { file, rules }: NonNullable<CasbinFiles["policy"]>,
): Promise<FileFault[]> {
  const faults: FileFault[] = [];
  for (let start = 0; start < rules.length && faults.length < LISTED; start += CHUNK) {
    const chunk = rules.slice(start, start + CHUNK);
    if (!(await tryInsert(client, model, chunk)).error) continue;
    for (const rule of chunk) {
      const { error } = await tryInsert(client, model, [rule]);
      if (error) faults.push({ ...faultOf(error, file), line: rule.line });
    }
  }
  return faults;
}

function tryInsert(client: pg.ClientBase, model: string, rules: readonly CasbinRule[]) {
  return tryQuery(
    client,
    `insert into access.casbin_rules (model_name, ptype, v0, v1, v2, v3, v4, v5)
     select $1, r ->> 0, r ->> 1, r ->> 2, r ->> 3, r ->> 4, r ->> 5, r ->> 6
     from jsonb_array_elements($2) with ordinality x (r, place)
     order by place`,
    [model, JSON.stringify(rules.map(({ ptype, values }) => [ptype, ...values]))],
  );
}

/** Runs a statement that the database may refuse. Undoes it and returns the error if it does. */
async function tryQuery<Row extends pg.QueryResultRow>(
  client: pg.ClientBase,
  sql: string,
  values: unknown[],
): Promise<{ rows: Row[]; error?: undefined } | { rows?: undefined; error: pg.DatabaseError }> {
  await client.query("savepoint casbin");
  try {
    const { rows } = await client.query<Row>(sql, values);
    await client.query("release savepoint casbin");
    return { rows };
  } catch (error) {
    const { code = "" } = error as pg.DatabaseError;
    // Rules that the grammar refuses, values that are too long or no text, and names of models that a check refuses.
    if (!/^(PL422|22|23514)/.test(code)) throw error;
    await client.query("rollback to savepoint casbin");
    return { error: error as pg.DatabaseError };
  }
}

/** Reads the place from a message such as "matchers, line 12, column 5: …". */
function faultOf({ message }: pg.DatabaseError, file: string): FileFault {
  const [, section, line, column, reason] = /^(.*), line (\d+), column (\d+): (.*)$/s.exec(message) ?? [];
  if (section === undefined) return { file, line: 1, reason: message };
  return { file, line: Number(line), column: Number(column), reason: `${section}: ${reason}` };
}
