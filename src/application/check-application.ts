import { statSync } from "node:fs";
import { resolve } from "node:path";
import { HISTORY_SCHEMAS } from "../database/history.ts";
import { JOB_SCHEMA, SCHEMAS } from "../database/schemas.ts";
import { type JobDefinition, QUEUES } from "../jobs/index.ts";
import { nextRun } from "../jobs/next-run.ts";
import { PlinthError } from "../support/errors.ts";
import { isObject } from "../support/is-object.ts";
import type { Application } from "./application.ts";
import { leftOutModules } from "./modules.ts";

/** Schemas that other parts of Plinth or of PostgreSQL own. */
const TAKEN_SCHEMAS: ReadonlySet<string> = new Set([
  ...SCHEMAS,
  ...HISTORY_SCHEMAS,
  JOB_SCHEMA,
  "information_schema",
]);
const TAKEN_JOBS: ReadonlySet<string> = new Set(QUEUES.map(({ name }) => name));
const JOB_NAME = /^[a-z][a-z0-9-]{0,99}$/;
const FIVE_FIELDS = /^\S+( +\S+){4}$/;

/** Checks one key and returns its value as the rest of Plinth uses it. Relative paths begin in `folder`. */
type Checks = {
  readonly [K in keyof Required<Application>]: (
    value: unknown,
    folder: string,
  ) => NonNullable<Application[K]>;
};

const CHECKS: Checks = {
  schemas: (value) => unique("schemas", listOf("schemas", value).map(schemaName)),
  migrations: migrationsFolder,
  plugins: (value) => listOf("plugins", value).map(plugin),
  jobs(value) {
    const jobs = listOf("jobs", value).map(job);
    unique(
      "jobs",
      jobs.map(({ name }) => name),
    );
    return jobs;
  },
  modules(value) {
    const names = listOf("modules", value).map(String);
    leftOutModules(names);
    return names;
  },
};

/**
 * Checks the parts of an application, which may come from JavaScript, and makes its paths absolute.
 * @param folder where relative paths begin
 * @throws PlinthError INVALID_APPLICATION naming the key
 */
export function checkApplication(value: unknown, folder: string = process.cwd()): Application {
  if (!isObject(value)) throw invalid("The application must be an object.", `Its keys are ${keys()}.`);
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return Object.fromEntries(
    entries.map(([key, each]) => {
      if (!Object.hasOwn(CHECKS, key))
        throw invalid(`The application has the unknown key ${key}.`, `Its keys are ${keys()}.`);
      return [key, CHECKS[key as keyof Checks](each, folder)];
    }),
  );
}

const keys = (): string => Object.keys(CHECKS).join(", ");

function invalid(message: string, hint: string): PlinthError {
  return new PlinthError("INVALID_APPLICATION", message, { hint });
}

function listOf(key: string, value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw invalid(`The application's ${key} must be a list.`, `Write ${key}: [ … ].`);
}

function unique(key: string, names: readonly string[]): readonly string[] {
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated === undefined) return names;
  throw invalid(`The application's ${key} contain ${repeated} twice.`, "Remove or rename one of them.");
}

function schemaName(value: unknown): string {
  if (typeof value !== "string" || value === "")
    throw invalid("Each of the application's schemas must be a name.", 'Write schemas: ["shop"].');
  if (value.startsWith("pg_"))
    throw invalid(`The schema ${value} belongs to PostgreSQL.`, "Create a schema of your own.");
  if (TAKEN_SCHEMAS.has(value))
    throw invalid(
      `The schema ${value} is not the application's own.`,
      "Plinth uses it. Create a schema of your own, such as shop.",
    );
  return value;
}

function migrationsFolder(value: unknown, folder: string): string {
  if (typeof value !== "string" || value === "")
    throw invalid(
      "The application's migrations must be the path of a folder.",
      'Write migrations: "./migrations".',
    );
  const path = resolve(folder, value);
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory())
    throw invalid(
      `The folder of the application's migrations does not exist: ${path}.`,
      "Create it with a file current.sql, or remove the key migrations.",
    );
  return path;
}

function plugin(value: unknown): GraphileConfig.Plugin {
  if (isObject(value) && typeof value.name === "string") return value as unknown as GraphileConfig.Plugin;
  throw invalid(
    "Each of the application's plugins must be a PostGraphile plugin with a name.",
    "See Plugins in docs/extend.md.",
  );
}

function job(value: unknown): JobDefinition {
  const { name, cron, run } = (isObject(value) ? value : {}) as Partial<JobDefinition>;
  if (typeof name !== "string" || !JOB_NAME.test(name))
    throw invalid(
      `A job of the application has the name ${JSON.stringify(name) ?? "undefined"}.`,
      "A name has lowercase letters, digits and hyphens, and starts with a letter.",
    );
  if (TAKEN_JOBS.has(name)) throw invalid(`Plinth has a job named ${name} itself.`, "Choose another name.");
  if (typeof run !== "function")
    throw invalid(
      `The job ${name} has no function run.`,
      "Write async run({ query, signal }) { … return { rows }; }.",
    );
  if (cron !== undefined && !isSchedule(cron))
    throw invalid(
      `The job ${name} has the schedule ${JSON.stringify(cron)}, which is not five cron fields.`,
      'Write cron: "0 3 * * *" for 03:00 UTC, or omit it for a job that only plinth.enqueue_job starts.',
    );
  return value as unknown as JobDefinition;
}

function isSchedule(cron: unknown): boolean {
  if (typeof cron !== "string" || !FIVE_FIELDS.test(cron)) return false;
  try {
    nextRun(cron);
    return true;
  } catch {
    return false;
  }
}
