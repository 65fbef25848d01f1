import { parseCasbinPolicy } from "./parse-policy.ts";

/**
 * Writes a rule as a line of a Casbin policy file, with quotes only where the reader needs them.
 * @returns the line, or undefined if the format cannot hold a value: one with a line break, spaces at its ends or unbalanced
 * parentheses
 */
export function casbinPolicyLine(ptype: string, values: readonly string[]): string | undefined {
  const fields = values.map(fieldOf);
  return fields.includes(undefined) ? undefined : [ptype, ...fields].join(", ");
}

/** The reader decodes quotes twice, so a value with doubled quotes needs two layers. */
function fieldOf(value: string): string | undefined {
  return [value, quoted(value), quoted(quoted(value))].find((field) => readBack(field) === value);
}

function quoted(value: string): string {
  return `"${value.replaceAll('"', '""')}"`;
}

function readBack(field: string): string | undefined {
  const { rules } = parseCasbinPolicy(`p, ${field}`);
  return rules.length === 1 && rules[0]!.values.length === 1 ? rules[0]!.values[0] : undefined;
}
