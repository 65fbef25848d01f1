import type { CatalogueObject } from "../catalogue.ts";
import type { Dependencies } from "./dependencies.ts";
import { PHASES, type Step } from "./step.ts";

/** A step with the object that it mends. */
export interface ObjectStep extends Step {
  readonly object: CatalogueObject;
}

/** Sorts the steps of all differences into an order that runs. */
export function inOrder(steps: readonly ObjectStep[], dependencies: Dependencies): ObjectStep[] {
  const unique = steps.filter(
    (step, index) =>
      steps.findIndex(({ sql, manual }) => sql === step.sql && manual === step.manual) === index,
  );
  return PHASES.flatMap((phase) => {
    const own = unique.filter((step) => step.phase === phase);
    if (phase === "drop" || phase === "drop unused") return dependentsFirst(own, dependencies);
    return phase === "create" ? mentionedFirst(own) : own;
  });
}

/** Visits each item after those that must precede it. A circle is left in the given order. */
function sorted<T>(items: readonly T[], precedents: (item: T) => readonly T[]): T[] {
  const result = new Set<T>();
  const visited = new Set<T>();
  const visit = (item: T) => {
    if (visited.has(item)) return;
    visited.add(item);
    for (const precedent of precedents(item)) visit(precedent);
    result.add(item);
  };
  for (const item of items) visit(item);
  return [...result];
}

function dependentsFirst(steps: readonly ObjectStep[], dependencies: Dependencies): ObjectStep[] {
  const byTitle = Map.groupBy(steps, ({ drops }) => drops);
  return sorted(steps, ({ object }) =>
    dependencies.of(object).flatMap(({ title }) => byTitle.get(title) ?? []),
  );
}

/** Kinds in the order in which objects usually need each other. */
const KINDS = [
  "schema",
  "extension",
  "domain",
  "type",
  "text search dictionary",
  "text search configuration",
  "sequence",
  "table",
  "column",
  "constraint",
  "function",
  "procedure",
  "aggregate",
  "view",
  "materialized view",
];

function mentionedFirst(steps: readonly ObjectStep[]): ObjectStep[] {
  const ranked = steps.toSorted((a, b) => rankOf(a.object) - rankOf(b.object));
  const makers = ranked.filter(({ makes }) => makes !== undefined);
  return sorted(ranked, (step) => {
    const text = textNeededNow(step.sql);
    return makers.filter((maker) => maker.makes !== step.makes && mentions(text, maker.makes!));
  });
}

/** A computed column follows those that it may be computed from. */
function rankOf({ kind, properties }: CatalogueObject): number {
  return KINDS.indexOf(kind) + ("generated" in properties ? 0.5 : 0);
}

/** The text without the body of a function, which may name objects that are created later. */
function textNeededNow(sql: string): string {
  if (/^do\b/i.test(sql)) return "";
  if (!/^create (?:or replace )?(?:function|procedure)/i.test(sql) || /\bbegin\s+atomic\b/i.test(sql))
    return sql;
  return sql.replace(/\bas\s+(?:\$|'|E')[\s\S]*$/i, "");
}

function mentions(text: string, name: string): boolean {
  for (let place = text.indexOf(name); place >= 0; place = text.indexOf(name, place + 1))
    if (!/[\w".]/.test(text[place - 1] ?? " ") && !/[\w"]/.test(text[place + name.length] ?? " "))
      return true;
  return false;
}
