import type { Application } from "./application/application.ts";
import { checkApplication } from "./application/check-application.ts";
import { type Config, loadConfig } from "./config/config.ts";
import { type Plinth, type PlinthOptions, startPlinth } from "./start/plinth.ts";
import { assertNodeVersion } from "./support/node-version.ts";

export { type Application, defineApplication } from "./application/application.ts";
export { type Config, loadConfig } from "./config/config.ts";
export type { LoginRole, Role } from "./config/roles.ts";
export type { Database } from "./database/database.ts";
export type { DemoAccount } from "./demo/demo-data.ts";
// Also the types of `context.plinth` in an application's plugins.
export type { PlinthContext } from "./graphql/context.ts";
export { makePreset } from "./graphql/preset.ts";
export type { JobContext, JobDefinition, JobFunction, TimetableEntry } from "./jobs/index.ts";
export type { SendSms, SmsMessage } from "./mail/message.ts";
export type { MailHooks } from "./mail/open-mailer.ts";
export type { Content, Part, Template, TemplateContext, Variables } from "./mail/template.ts";
export { type ClientErrorCode, clientError } from "./request/client-error.ts";
export { type RequestContext, requireClaims } from "./request/context.ts";
export type { Plinth } from "./start/plinth.ts";
export { PlinthError } from "./support/errors.ts";

/** Settings at any depth. Omitted settings come from the environment. Lists are replaced as a whole. */
export type ConfigOverrides = {
  readonly [K in keyof Config]?: Config[K] extends readonly unknown[]
    ? Config[K]
    : Config[K] extends object
      ? { readonly [L in keyof Config[K]]?: Config[K][L] }
      : Config[K];
};

/** An application, the settings that differ from the environment, and hooks. */
export interface CreateOptions extends Application, Omit<PlinthOptions, "config" | "application"> {
  readonly settings?: ConfigOverrides;
}

/**
 * Starts Plinth inside your own process, as `plinth start` does.
 * @example
 * const plinth = await createPlinth({ schemas: ["shop"], migrations: "./migrations", settings: { http: { port: 0 } } });
 * await fetch(`${plinth.url}/graphql`, …);
 * await plinth.close();
 * @throws PlinthError INVALID_APPLICATION, and with the reason if a part cannot start; parts that were already started are stopped
 */
export async function createPlinth(options: CreateOptions = {}): Promise<Plinth> {
  assertNodeVersion();
  const { settings = {}, schemas, migrations, plugins, jobs, ...others } = options;
  const application = checkApplication({ schemas, migrations, plugins, jobs });
  return startPlinth({ ...others, application, config: mergeConfig(loadConfig(), settings) });
}

function mergeConfig(base: Config, overrides: ConfigOverrides): Config {
  const entries = Object.entries(overrides).map(([key, value]) => {
    const own = base[key as keyof Config];
    const nested = typeof own === "object" && typeof value === "object" && !Array.isArray(value);
    return [key, nested ? { ...own, ...value } : value];
  });
  return { ...base, ...Object.fromEntries(entries) };
}
