import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import type { HashAlgorithm } from "../auth/password-hash-format.ts";
import { app } from "./app-settings.ts";
import { type ArchiveSettings, archives } from "./archive-settings.ts";
import { type BackupSettings, backups } from "./backup-settings.ts";
import { type ConnectionSettings, connectionSettings } from "./connection-settings.ts";
import {
  type Environment,
  fileInstead,
  flag,
  integer,
  isNetwork,
  isOrigin,
  list,
  listOf,
  matching,
  oneOf,
  optionalUrl,
  text,
  textOrFile,
} from "./environment.ts";
import { IMPORT_SETTINGS } from "./import-source.ts";
import { mail } from "./mail-settings.ts";
import { type EmbeddingSettings, embeddings, type ModelSettings, models } from "./model-settings.ts";
import { type ObservabilitySettings, observability } from "./observability-settings.ts";
import { showsProgress } from "./progress-setting.ts";
import { DEFAULT_ROLE_PREFIX } from "./roles.ts";

/**
 * All settings. Only this folder reads the environment; docs/settings.md lists each variable. Names of durations end
 * with their unit.
 */
export interface Config extends ConnectionSettings {
  /** Folder of the embedded server's data, secrets and lock. */
  readonly dataDirectory: string;
  readonly rolePrefix: string;
  /** The file that exports the application; if omitted, plinth.config.ts, .js or .mjs in the working directory. */
  readonly configFile: string | undefined;
  /** Port of the embedded server. If omitted, the first start chooses a free port and stores it. */
  readonly embeddedPort: number | undefined;
  readonly http: {
    readonly host: string;
    readonly port: number;
    /** Addresses or CIDR blocks of proxies whose X-Forwarded-For is trusted; none by default. */
    readonly trustedProxies: readonly string[];
    /** Origins that browsers may call from; none by default. */
    readonly corsOrigins: readonly string[];
    readonly bodyLimitBytes: number;
    /** Time from a failing readiness probe to the end of new requests when the server stops. */
    readonly shutdownDelaySeconds: number;
    readonly rateLimit: { readonly windowSeconds: number; readonly requests: number };
    readonly graphiql: boolean;
    /** Whether the page of the schema is served at /schema. */
    readonly schemaPage: boolean;
    /** Whether the console of operators is served. */
    readonly console: boolean;
    readonly introspection: boolean;
    /** Which plain reads become one SQL statement: those that are used often, all, or none. */
    readonly compiledDocuments: "often" | "always" | "never";
    /** Documents that clients may execute: any, or only those that the operator added. */
    readonly documents: "any" | "added";
  };
  /** The application that users sign in to, as shown by browsers and authenticator apps. */
  readonly app: {
    readonly name: string;
    /** The domain that passkeys are bound to (WebAuthn's RP ID). */
    readonly rpId: string;
    /** Origins of its pages, such as `https://app.example.com`. */
    readonly origins: readonly string[];
  };
  readonly limits: {
    readonly depth: number;
    readonly rootFields: number;
    readonly fields: number;
    readonly cost: number;
    readonly pageSize: number;
  };
  readonly auth: {
    readonly issuer: string;
    readonly audience: string;
    readonly accessTokenSeconds: number;
    /** `kid:base64url[,kid:base64url…]`, `kid:es256:base64url`; the first signs, the others still verify. */
    readonly jwtKeys: string | undefined;
    /** A file with the same content. */
    readonly jwtKeysFile: string | undefined;
    /** `version:base64url[,version:base64url…]`; the highest version seals, all unseal. */
    readonly masterKeys: string | undefined;
    /** A file with the same content. */
    readonly masterKeysFile: string | undefined;
    /** Whether new accounts store only the keyed hash of their e-mail address. */
    readonly privacyMode: boolean;
    readonly hashConcurrency: number;
    /** Algorithm of new password hashes. */
    readonly passwordHash: HashAlgorithm;
    /** Number of an account's last passwords, including the current one, that cannot be reused; 0 allows all. */
    readonly passwordHistory: number;
    /** JSON list of sign-in providers; contains secrets. */
    readonly oauthProviders: string;
  };
  readonly live: {
    /** Whether subscribers to the same operation who see the same rows share one execution of it. */
    readonly isSharing: boolean;
  };
  /** If omitted, memories are recalled by words only. */
  readonly embeddings: EmbeddingSettings | undefined;
  readonly mail: {
    /** `smtp(s)://user:password@host:port`; if omitted, mail is written to the data folder. */
    readonly smtpUrl: string | undefined;
    /** `Name <address>` or an address. */
    readonly from: string;
    /** URL of the application for links in mail, without a trailing slash. */
    readonly appUrl: string;
  };
  /** Names of the modules to use; undefined for all. */
  readonly modules: readonly string[] | undefined;
  readonly payments: {
    /** If omitted, the webhook is disabled. */
    readonly stripeWebhookSecret: string | undefined;
    /** If omitted, payments are disabled in the API. */
    readonly stripeSecretKey: string | undefined;
    /** Origin of Stripe's API, for tests and proxies; Stripe's own by default. */
    readonly stripeApiUrl: string | undefined;
    /** Page that a checkout returns to, with `?checkout=success` or `?checkout=canceled`. */
    readonly checkoutReturnUrl: string | undefined;
  };
  readonly models: ModelSettings;
  readonly observability: ObservabilitySettings;
  readonly archives: ArchiveSettings;
  /** Backups of the embedded server; if omitted, there are none. */
  readonly backups: BackupSettings | undefined;
  readonly logLevel: string;
  /** Whether commands show how far they are. */
  readonly showsProgress: boolean;
  /** A server on which commands and tests create databases of their own, which they drop; otherwise they start one. */
  readonly testDatabaseUrl: string | undefined;
}

/**
 * Reads and checks the settings.
 * @throws PlinthError INVALID_SETTING naming the variable, its value and the allowed values.
 */
export function loadConfig(env: Environment = process.env): Config {
  const dataDirectory = resolve(text(env, "PLINTH_DATA", ".plinth"));
  const connections = connectionSettings(env);
  const isEmbedded = Object.keys(connections.databaseUrls).length === 0;
  return {
    dataDirectory,
    rolePrefix: matching(
      env,
      "PLINTH_ROLE_PREFIX",
      DEFAULT_ROLE_PREFIX,
      /^[a-z][a-z0-9_]{0,39}$/,
      "at most 40 lowercase letters, digits and _, starting with a letter",
    ),
    configFile: env.PLINTH_CONFIG ? resolve(env.PLINTH_CONFIG) : undefined,
    embeddedPort: env.PLINTH_DATABASE_PORT ? integer(env, "PLINTH_DATABASE_PORT", 0, 1, 65_535) : undefined,
    ...connections,
    http: {
      host: text(env, "PLINTH_HOST", "127.0.0.1"),
      port: integer(env, "PLINTH_PORT", 5678, 0, 65_535),
      trustedProxies: listOf(
        env,
        "PLINTH_TRUSTED_PROXIES",
        isNetwork,
        "addresses or CIDR blocks such as 10.0.0.0/8, but not the range of all addresses (/0)",
      ),
      corsOrigins: listOf(
        env,
        "PLINTH_CORS_ORIGINS",
        isOrigin,
        "origins such as https://app.example.com, without a path or a trailing slash",
      ),
      bodyLimitBytes: integer(env, "PLINTH_BODY_LIMIT_BYTES", 1_000_000, 1_000, 100_000_000),
      shutdownDelaySeconds: integer(env, "PLINTH_SHUTDOWN_DELAY_SECONDS", 0, 0, 300),
      rateLimit: {
        windowSeconds: integer(env, "PLINTH_RATE_LIMIT_WINDOW_SECONDS", 60, 1, 86_400),
        requests: integer(env, "PLINTH_RATE_LIMIT_REQUESTS", 1_000, 1, 10_000_000),
      },
      graphiql: flag(env, "PLINTH_GRAPHIQL", true),
      schemaPage: flag(env, "PLINTH_SCHEMA_PAGE", isEmbedded),
      console: flag(env, "PLINTH_CONSOLE", isEmbedded),
      introspection: flag(env, "PLINTH_INTROSPECTION", true),
      compiledDocuments: oneOf(env, "PLINTH_COMPILED_DOCUMENTS", ["often", "always", "never"]),
      documents: oneOf(env, "PLINTH_DOCUMENTS", ["any", "added"]),
    },
    app: app(env),
    limits: {
      depth: integer(env, "PLINTH_LIMIT_DEPTH", 12, 1, 100),
      rootFields: integer(env, "PLINTH_LIMIT_ROOT_FIELDS", 10, 1, 1_000),
      fields: integer(env, "PLINTH_LIMIT_FIELDS", 500, 1, 100_000),
      cost: integer(env, "PLINTH_LIMIT_COST", 100_000, 1, 100_000_000),
      pageSize: integer(env, "PLINTH_LIMIT_PAGE_SIZE", 100, 1, 10_000),
    },
    auth: {
      issuer: text(env, "PLINTH_JWT_ISSUER", "plinth"),
      audience: text(env, "PLINTH_JWT_AUDIENCE", "plinth"),
      accessTokenSeconds: integer(env, "PLINTH_ACCESS_TOKEN_SECONDS", 600, 10, 86_400),
      jwtKeys: env.PLINTH_JWT_KEYS || undefined,
      jwtKeysFile: fileInstead(env, "PLINTH_JWT_KEYS"),
      masterKeys: env.PLINTH_MASTER_KEYS || undefined,
      masterKeysFile: fileInstead(env, "PLINTH_MASTER_KEYS"),
      privacyMode: flag(env, "PLINTH_PRIVACY_MODE", false),
      hashConcurrency: integer(
        env,
        "PLINTH_HASH_CONCURRENCY",
        Math.max(1, availableParallelism() - 1),
        1,
        64,
      ),
      passwordHash:
        oneOf(env, "PLINTH_PASSWORD_HASH", ["argon2id", "bcrypt"]) === "bcrypt"
          ? "bcrypt-sha256"
          : "argon2id",
      passwordHistory: integer(env, "PLINTH_PASSWORD_HISTORY", 5, 0, 20),
      oauthProviders: textOrFile(env, "PLINTH_OAUTH_PROVIDERS", "[]"),
    },
    live: { isSharing: flag(env, "PLINTH_LIVE_SHARING", true) },
    embeddings: embeddings(env),
    mail: mail(env),
    modules: env.PLINTH_MODULES ? list(env, "PLINTH_MODULES") : undefined,
    payments: {
      stripeWebhookSecret: env.PLINTH_STRIPE_WEBHOOK_SECRET || undefined,
      stripeSecretKey: env.PLINTH_STRIPE_SECRET_KEY || undefined,
      stripeApiUrl: optionalUrl(env, "PLINTH_STRIPE_API_URL"),
      checkoutReturnUrl: optionalUrl(env, "PLINTH_CHECKOUT_RETURN_URL"),
    },
    models: models(env),
    observability: observability(env),
    archives: archives(env, isEmbedded ? dataDirectory : undefined),
    backups: backups(env),
    logLevel: matching(
      env,
      "PLINTH_LOG_LEVEL",
      "info",
      /^(trace|debug|info|warn|error|fatal|silent)$/,
      "trace, debug, info, warn, error, fatal or silent",
    ),
    showsProgress: showsProgress(env),
    testDatabaseUrl: env.TEST_DATABASE_URL || undefined,
  };
}

/** Returns PLINTH_ variables that are not settings, such as misspelled ones. */
export function unknownSettings(env: Environment = process.env): string[] {
  const known = new Set<PropertyKey>(IMPORT_SETTINGS.flatMap((name) => [name, `${name}_FILE`]));
  loadConfig(
    new Proxy(env, {
      get(target, name) {
        known.add(name);
        return Reflect.get(target, name);
      },
    }),
  );
  return Object.keys(env).filter((name) => name.startsWith("PLINTH_") && !known.has(name));
}
