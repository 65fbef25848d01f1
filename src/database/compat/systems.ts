import { readdirSync } from "node:fs";
import { join } from "node:path";
import { PlinthError } from "../../support/errors.ts";
import { OPTIONAL_MIGRATIONS_FOLDER } from "../../support/paths.ts";

/** A folder for the mechanism, and one for each system with its expected state. */
export const COMPAT_FOLDER = join(OPTIONAL_MIGRATIONS_FOLDER, "compat");

/** Documents that call their system by another name than plinth.external_ids. */
const ALIASES: Readonly<Record<string, string>> = { headphone_mode: "headphone" };

/** The name of a system on the command line, as in `plinth import system`. */
function commandName(system: string): string {
  const [alias] = Object.entries(ALIASES).find(([, own]) => own === system) ?? [system];
  return alias.replaceAll("_", "-");
}

/** The folder of what all systems share. */
export const MECHANISM = "mechanism";

/** Systems that have a compatibility schema: the names of their folders. */
export function compatSystems(): string[] {
  return readdirSync(COMPAT_FOLDER, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== MECHANISM)
    .map(({ name }) => name)
    .sort();
}

export const compatSchema = (system: string): string => `compat_${system}`;

/** The schemas of all systems, and the one of their mechanism. */
export const compatSchemas = (): string[] => [...compatSystems().map(compatSchema), "compat"];

/** @throws PlinthError UNKNOWN_SYSTEM */
export function findSystem(name: string): string {
  const key = name.replaceAll("-", "_").replace(/^compat_/, "");
  const system = ALIASES[key] ?? key;
  const systems = compatSystems();
  if (systems.includes(system)) return system;
  throw new PlinthError("UNKNOWN_SYSTEM", `There is no compatibility schema for ${name}.`, {
    hint: `Choose one of: ${systems.map(commandName).join(", ")}.`,
    exitCode: 2,
  });
}
