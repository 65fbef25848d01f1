import { literal } from "../../schema-dump/sql-text.ts";
import type { CatalogueObject } from "../catalogue.ts";
import type { MendContext, Step } from "./step.ts";

/** Settings whose value is a list of names; a quoted list would be one name. */
const LISTS = ["search_path", "session_preload_libraries", "local_preload_libraries"];

/** Sets a setting of a role or the database; without a wanted value, resets it. */
export function settingSteps(
  { name, on, properties }: CatalogueObject,
  { database }: MendContext,
  { isWanted = true } = {},
): Step[] {
  const inAll = / in all databases$/.test(on!);
  const holder = on!.replace(/ in all databases$/, "");
  const target =
    holder === "the database"
      ? inAll
        ? "role all"
        : `database ${database}`
      : `role ${holder}${inAll ? "" : ` in database ${database}`}`;
  const value = LISTS.includes(name) ? properties.value : literal(properties.value ?? "");
  const change = isWanted ? `set ${name} = ${value}` : `reset ${name}`;
  // The owner of the database may change its settings and its own, but not those of other roles.
  const isOwn = target.startsWith("database ") || holder === ":PLINTH_OWNER";
  return [{ phase: isOwn ? "alter" : "administrator", sql: `alter ${target} ${change};` }];
}
