import { isObject } from "../../../support/is-object.ts";
import type { Loss, Values } from "../mapping.ts";

/** Without the columns that have no value and keep their default. */
export function known(values: Values): Values {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== null && value !== undefined),
  );
}

/** A JSON object; any other value does not come along. */
export function objectOf(column: string, value: unknown, losses: Loss[]): Record<string, unknown> | null {
  if (value === null || isObject(value)) return value;
  losses.push({ column, reason: "must be a JSON object" });
  return null;
}
