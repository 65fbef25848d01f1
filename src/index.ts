import type { Application } from "./application/application.ts";
import type { ForeignPasswordHash, ImportedPasswordHash } from "./auth/foreign-password-hash.ts";
import { type Config, loadConfig } from "./config/config.ts";
import type { PresetOptions } from "./graphql/preset.ts";
import type { PlinthOptions } from "./start/options.ts";
import type { MountedPlinth, Plinth } from "./start/plinth.ts";
import { assertNodeVersion } from "./support/node-version.ts";

export { type Application, defineApplication } from "./application/application.ts";
export type { Claims } from "./auth/api-token.ts";
export type { ForeignPasswordHash, ImportedPasswordHash } from "./auth/foreign-password-hash.ts";
export { type Config, loadConfig } from "./config/config.ts";
export type { LoginRole, Role } from "./config/roles.ts";
export type { Database } from "./database/database.ts";
export type { DemoAccount } from "./demo/demo-data.ts";
// Also the types of `context.plinth` in an application's plugins.
export type { PlinthContext } from "./graphql/context.ts";
export type { PresetOptions } from "./graphql/preset.ts";
export { HttpError } from "./http/http-error.ts";
export type { AnyRequest } from "./http/mount/caller.ts";
export type { FetchHandler } from "./http/mount/fetch.ts";
export type { Handler } from "./http/mount/handler.ts";
export type { JobContext, JobDefinition, JobFunction, TimetableEntry } from "./jobs/index.ts";
export type { SendSms, SmsMessage } from "./mail/message.ts";
export type { MailHooks } from "./mail/open-mailer.ts";
export type { Content, Part, Template, TemplateContext, Variables } from "./mail/template.ts";
export { type ClientErrorCode, clientError } from "./request/client-error.ts";
export { type RequestContext, requireClaims } from "./request/context.ts";
export type { UserClient } from "./request/user-client.ts";
export type { MountedPlinth, Plinth } from "./start/plinth.ts";
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
 * Starts Plinth inside your own process, as `plinth start` does. With `listen: false` it opens no port, and your server passes
 * requests on, see docs/mount.md.
 * @example
 * const plinth = await createPlinth({ schemas: ["shop"], migrations: "./migrations", settings: { http: { port: 0 } } });
 * await fetch(`${plinth.url}/graphql`, …);
 * await plinth.close();
 * @throws PlinthError INVALID_APPLICATION, and with the reason if a part cannot start; parts that were already started are stopped
 */
export async function createPlinth(options: CreateOptions & { listen: false }): Promise<MountedPlinth>;
export async function createPlinth(options?: CreateOptions): Promise<Plinth>;
export async function createPlinth(options: CreateOptions = {}): Promise<MountedPlinth> {
  assertNodeVersion();
  // An older Node could not even parse these, so its error would not name the reason.
  const { checkApplication } = await import("./application/check-application.ts");
  const { startPlinth } = await import("./start/plinth.ts");
  const { settings = {}, schemas, migrations, plugins, jobs, modules, ...others } = options;
  const application = checkApplication({ schemas, migrations, plugins, jobs, modules });
  return startPlinth({ ...others, application, config: mergeConfig(loadConfig(), settings) });
}

/** Returns the PostGraphile preset of the API, for a server or a schema of your own. */
export async function makePreset(options: PresetOptions): Promise<GraphileConfig.Preset> {
  assertNodeVersion();
  const preset = await import("./graphql/preset.ts");
  return preset.makePreset(options);
}

/**
 * Returns the stored form of another system's password hash, see docs/accounts.md.
 * @throws PlinthError UNSUPPORTED_PASSWORD_HASH
 */
export async function importedPasswordHash(input: ForeignPasswordHash): Promise<ImportedPasswordHash> {
  assertNodeVersion();
  const hashes = await import("./auth/foreign-password-hash.ts");
  return hashes.importedPasswordHash(input);
}

function mergeConfig(base: Config, overrides: ConfigOverrides): Config {
  const entries = Object.entries(overrides).map(([key, value]) => {
    const own = base[key as keyof Config];
    const nested = typeof own === "object" && typeof value === "object" && !Array.isArray(value);
    return [key, nested ? { ...own, ...value } : value];
  });
  return { ...base, ...Object.fromEntries(entries) };
}
