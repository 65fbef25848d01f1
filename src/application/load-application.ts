// Before the plugins of an application load PostGraphile.
import "../support/graphile-env.ts";
import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Config } from "../config/config.ts";
import { PlinthError } from "../support/errors.ts";
import type { Application } from "./application.ts";

const FILE_NAMES = ["plinth.config.ts", "plinth.config.js", "plinth.config.mjs"];

/**
 * Loads the application of this folder from plinth.config.ts, .js or .mjs, or from the file that PLINTH_CONFIG names. Relative
 * paths begin at the file.
 * @returns an application without parts if there is no such file
 * @throws PlinthError CONFIG_MISSING, CONFIG_FAILED, INVALID_APPLICATION
 */
export async function loadApplication(
  { configFile }: Pick<Config, "configFile">,
  folder: string = process.cwd(),
): Promise<Application> {
  const file = configFile ?? FILE_NAMES.map((name) => join(folder, name)).find(existsSync);
  if (file === undefined) return {};
  if (!existsSync(file))
    throw new PlinthError("CONFIG_MISSING", `The file ${file} does not exist.`, {
      hint: "Set PLINTH_CONFIG or --config to the file that exports your application.",
    });
  const application = await importDefault(resolve(file));
  // Loads the jobs, which commands in other folders do not need.
  const { checkApplication } = await import("./check-application.ts");
  return checkApplication(application, dirname(file));
}

async function importDefault(file: string): Promise<unknown> {
  const exported: { default?: unknown } = await import(pathToFileURL(file).href).catch((cause: unknown) => {
    const { message = String(cause) } = cause as Partial<Error>;
    throw new PlinthError("CONFIG_FAILED", `${basename(file)} cannot be loaded: ${message}`, { cause });
  });
  if (exported.default !== undefined) return exported.default;
  throw new PlinthError("CONFIG_FAILED", `${basename(file)} has no default export.`, {
    hint: "Write export default defineApplication({ … }).",
  });
}
