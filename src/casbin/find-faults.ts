import type pg from "pg";
import { findModel } from "./find-model.ts";
import type { CasbinRule } from "./parse-policy.ts";
import type { CasbinFiles, FileFault } from "./read-files.ts";

/** Faults that are reported at most. */
const LISTED = 1_000;

/**
 * Checks a model and a policy without the rules that are stored. Writes nothing.
 * @throws PlinthError NOT_FOUND if no model is given and none is stored under the name
 */
export async function checkPolicy(
  files: CasbinFiles,
  { client, name }: { readonly client: pg.ClientBase; readonly name: string },
): Promise<readonly FileFault[]> {
  const definition = files.model?.definition ?? (await findModel(client, name));
  return findFaults(client, definition, files, newRules(files, []));
}

/** A rule, and where to find it. */
export interface PlacedRule extends CasbinRule {
  readonly file: string;
  readonly line?: number;
}

/** The rules of the file that are not stored. */
export function newRules({ policy }: CasbinFiles, stored: readonly PlacedRule[]): PlacedRule[] {
  if (!policy) return [];
  const keyOf = ({ ptype, values }: CasbinRule) => JSON.stringify([ptype, ...values]);
  const known = new Set(stored.map(keyOf));
  return policy.rules
    .filter((rule) => !known.has(keyOf(rule)))
    .map((rule) => ({ file: policy.file, ...rule }));
}

export function asJson(rules: readonly CasbinRule[]): string {
  return JSON.stringify(rules.map(({ ptype, values }) => [ptype, ...values]));
}

/** Everything that is refused, in the order of the files and lines. */
export async function findFaults(
  client: pg.ClientBase,
  definition: string,
  { model, faults }: CasbinFiles,
  rules: readonly PlacedRule[],
): Promise<readonly FileFault[]> {
  const { rows } = await client.query<{ rule: number | null; place: string; reason: string }>(
    "select rule, place, reason from private.casbin_check($1, $2)",
    [definition, asJson(rules)],
  );
  const refused = rows.map(({ rule, place, reason }): FileFault => {
    if (rule !== null) {
      const { file, line } = rules[rule - 1]!;
      return { file, ...(line !== undefined && { line }), reason: `${place}: ${reason}.` };
    }
    const [, section, line, column] = /^(.*), line (\d+), column (\d+)$/.exec(place) ?? [];
    return {
      file: model?.file ?? "stored model",
      line: Number(line ?? 1),
      column: Number(column ?? 1),
      reason: `${section ?? place}: ${reason}`,
    };
  });
  return [...faults, ...refused].sort(byPlace).slice(0, LISTED);
}

function byPlace(a: FileFault, b: FileFault): number {
  return a.file.localeCompare(b.file) || (a.line ?? 0) - (b.line ?? 0);
}
