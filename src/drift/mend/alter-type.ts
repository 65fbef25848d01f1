import type { CatalogueObject } from "../catalogue.ts";
import { REBUILD, type Step } from "./step.ts";

const ATTRIBUTES = /(?:"(?:[^"]|"")*"|\w+) (?:[^,(]|\([^)]*\))+/g;

/**
 * Changes the attributes of a composite type, or adds the values of an enumeration. A type with another order of attributes, and an
 * enumeration with too many values, must be created again.
 */
export function typeSteps(
  { name, properties }: CatalogueObject,
  found: CatalogueObject,
): Step[] | typeof REBUILD {
  const [wanted, actual] = [properties.definition!, found.properties.definition!];
  const alter = (change: string): Step => ({ phase: "alter", sql: `alter type ${name} ${change};` });
  if (wanted.startsWith("'")) return valueSteps(valuesOf(wanted), valuesOf(actual), alter);
  const [after, before] = [attributesOf(wanted), attributesOf(actual)];
  const kept = before.filter((attribute) => after.includes(attribute));
  const added = after.filter((attribute) => !kept.includes(attribute));
  if ([...kept, ...added].join() !== after.join()) return REBUILD;
  return [
    ...before
      .filter((attribute) => !kept.includes(attribute))
      .map((attribute) => alter(`drop attribute ${attribute.split(" ")[0]}`)),
    ...added.map((attribute) => alter(`add attribute ${attribute}`)),
  ];
}

const attributesOf = (definition: string) => definition.match(ATTRIBUTES)?.map((text) => text.trim()) ?? [];
const valuesOf = (definition: string) => definition.match(/'(?:[^']|'')*'/g) ?? [];

function valueSteps(
  wanted: readonly string[],
  actual: readonly string[],
  alter: (change: string) => Step,
): Step[] | typeof REBUILD {
  if (actual.filter((value) => wanted.includes(value)).join() !== actual.join()) return REBUILD;
  return wanted.flatMap((value, index) => {
    if (actual.includes(value)) return [];
    return [
      alter(`add value ${value}${index === 0 ? ` before ${wanted[1]}` : ` after ${wanted[index - 1]}`}`),
    ];
  });
}

const CONSTRAINTS = /constraint ("(?:[^"]|"")*"|\w+) (CHECK \(.*?\)(?: NOT VALID)?)(?= constraint |$)/gs;

/** Changes the default, NOT NULL and the constraints of a domain; another base type needs another domain. */
export function domainSteps(
  { name, properties }: CatalogueObject,
  found: CatalogueObject,
): Step[] | typeof REBUILD {
  const [after, before] = [properties.definition!, found.properties.definition!].map(domainOf);
  if (after!.base !== before!.base) return REBUILD;
  const alter = (change: string): Step => ({ phase: "alter", sql: `alter domain ${name} ${change};` });
  const steps: Step[] = [];
  if (after!.value !== before!.value)
    steps.push(alter(after!.value === undefined ? "drop default" : `set default ${after!.value}`));
  if (after!.notNull !== before!.notNull) steps.push(alter(`${after!.notNull ? "set" : "drop"} not null`));
  for (const [constraint, check] of before!.constraints)
    if (after!.constraints.get(constraint) !== check) steps.push(alter(`drop constraint ${constraint}`));
  for (const [constraint, check] of after!.constraints)
    if (before!.constraints.get(constraint) !== check)
      steps.push(alter(`add constraint ${constraint} ${check}`));
  return steps;
}

function domainOf(definition: string) {
  const constraints = new Map(
    [...definition.matchAll(CONSTRAINTS)].map(([, name, check]) => [name!, check!]),
  );
  const head = definition.replace(CONSTRAINTS, "").trim();
  const notNull = / not null$/.test(head);
  const [base, value] = head.replace(/ not null$/, "").split(" default ", 2);
  return { base, value, notNull, constraints };
}
