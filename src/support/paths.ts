import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Finds the folder with package.json, from `src/` in a checkout and from `dist/src/` in an installed package. */
function findPackageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) folder = dirname(folder);
  return folder;
}

export const PACKAGE_ROOT = findPackageRoot();
export const MIGRATIONS_FOLDER = join(PACKAGE_ROOT, "migrations");
export const SCHEMA_FOLDER = join(MIGRATIONS_FOLDER, "schema");
export const CLIENT_SCHEMA_FOLDER = join(PACKAGE_ROOT, "client", "schema");
export const OPTIONAL_MIGRATIONS_FOLDER = join(MIGRATIONS_FOLDER, "optional");
