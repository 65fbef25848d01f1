import type { Transaction } from "./transaction.ts";

/** The parts of a Casbin model; the rest is that of RBAC. */
export interface ModelParts {
  readonly r?: string;
  readonly p?: string;
  /** null for a model without roles. */
  readonly g?: string | null;
  readonly e?: string;
  readonly m?: string;
}

/** The text of a model, one entry a section: the matcher is in line 10, or in line 8 of a model without roles. */
export function modelText({
  r = "sub, obj, act",
  p = "sub, obj, act",
  g = "_, _",
  e = "some(where (p.eft == allow))",
  m = "g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act",
}: ModelParts = {}): string {
  const roles = g === null ? [] : ["[role_definition]", `g = ${g}`];
  return [
    "[request_definition]",
    `r = ${r}`,
    "[policy_definition]",
    `p = ${p}`,
    ...roles,
    "[policy_effect]",
    `e = ${e}`,
    "[matchers]",
    `m = ${m}`,
  ].join("\n");
}

/** Replaces a model and its rules, given as lines of Casbin's CSV. */
export async function replacePolicy(
  tx: Transaction,
  definition: string,
  rules: readonly string[],
  model = "default",
): Promise<void> {
  const values = rules.map((line) => line.split(", "));
  await tx.attempt("select access.replace_casbin_policy($1, $2, $3)", [
    model,
    definition,
    JSON.stringify(values),
  ]);
}

/** The answer of the engine to a request in the order of the model's definition. */
export async function enforce(tx: Transaction, request: unknown[], model = "default"): Promise<boolean> {
  const [row] = await tx.attempt<{ answer: boolean }>("select private.casbin_enforce($1, $2) as answer", [
    model,
    JSON.stringify(request),
  ]);
  return row!.answer;
}
