import { type Config, loadConfig } from "./config/config.ts";
import { type Plinth, type PlinthOptions, startPlinth } from "./start/plinth.ts";
import { assertNodeVersion } from "./support/node-version.ts";

export { type Config, loadConfig } from "./config/config.ts";
export type { LoginRole, Role } from "./config/roles.ts";
export type { Database } from "./database/database.ts";
export type { DemoAccount } from "./demo/demo-data.ts";
export { makePreset } from "./graphql/preset.ts";
export type { JobContext, JobFunction, TimetableEntry } from "./jobs/index.ts";
export type { SendSms, SmsMessage } from "./mail/message.ts";
export type { MailHooks } from "./mail/open-mailer.ts";
export type { Content, Part, Template, TemplateContext, Variables } from "./mail/template.ts";
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

/**
 * Starts Plinth inside your own process, as `plinth start` does.
 * @example
 * const plinth = await createPlinth({ http: { port: 0 } });
 * await fetch(`${plinth.url}/graphql`, …);
 * await plinth.close();
 * @throws PlinthError with the reason; parts that were already started are stopped
 */
export async function createPlinth(
  overrides: ConfigOverrides = {},
  options: Omit<PlinthOptions, "config"> = {},
): Promise<Plinth> {
  assertNodeVersion();
  return startPlinth({ ...options, config: mergeConfig(loadConfig(), overrides) });
}

function mergeConfig(base: Config, overrides: ConfigOverrides): Config {
  const entries = Object.entries(overrides).map(([key, value]) => {
    const own = base[key as keyof Config];
    const nested = typeof own === "object" && typeof value === "object" && !Array.isArray(value);
    return [key, nested ? { ...own, ...value } : value];
  });
  return { ...base, ...Object.fromEntries(entries) };
}
