import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { frozenMigrationFaults, readFrozenMigrations } from "../../src/database/frozen-migrations.ts";
import { isBlankSql } from "../../src/database/graphile-migrate.ts";
import { MIGRATIONS_FOLDER, PACKAGE_ROOT } from "../../src/support/paths.ts";
import { parseChangelog, UNRELEASED } from "../../src/upgrade/changelog.ts";
import { installedWith, isAllowed, readLockfile } from "./licences.ts";
import { type Packed, packFaults } from "./pack-faults.ts";
import { currentSurface, releasedSurface } from "./surface.ts";

/** A point of the check-list. */
export interface Point {
  readonly name: string;
  /** The command that mends or proves it. */
  readonly action: string;
  /** Returns a sentence for each fault; undefined for a point that takes minutes and is part of `.ci/run`. */
  readonly faults?: () => Promise<readonly string[]>;
}

const read = (path: string) => readFileSync(join(PACKAGE_ROOT, path), "utf8");

/** Files that name the version of the package. */
const NAMED_IN = ["README.md", "docs/extend.md", "deploy/kubernetes.yaml"];

export const POINTS: readonly Point[] = [
  {
    name: "everything is committed",
    action: "git status",
    faults: async () => (await run("git", "status", "--porcelain")).split("\n").filter(Boolean),
  },
  {
    name: "package.json, package-lock.json, CHANGELOG.md and the pages that name the version have the same one",
    action: "Change the version in all of them.",
    async faults() {
      const manifest = JSON.parse(read("package.json"));
      return [
        ...versionFaults(manifest, readLockfile(), read("CHANGELOG.md")),
        ...NAMED_IN.flatMap((file) => namedVersionFaults(file, read(file), manifest.version)),
      ];
    },
  },
  {
    name: "all migrations are frozen",
    action: "npm run release:freeze",
    faults: migrationFaults,
  },
  {
    name: "the names and the GraphQL schema of this version are recorded",
    action: "npm run release:freeze",
    async faults() {
      const [now, recorded] = [currentSurface(), releasedSurface()];
      return [
        ...now.names
          .filter((name) => !recorded.names.includes(name))
          .map((name) => `${name} is not recorded.`),
        ...recorded.names
          .filter((name) => !now.names.includes(name))
          .map((name) => `${name} does not exist.`),
        ...(now.schema === recorded.schema ? [] : ["The GraphQL schema is another one."]),
      ];
    },
  },
  { name: "the reference is fresh", action: "npm run reference", faults: () => script("reference") },
  { name: "the console is fresh", action: "npm run console", faults: () => script("console") },
  { name: "the list of licences is fresh", action: "npm run licences", faults: () => script("licences") },
  {
    name: "all licences are allowed",
    action: "Replace the package, or add its licence to tools/release/licences.ts after a decision.",
    async faults() {
      const lockfile = readLockfile();
      const { dependencies, peerDependencies } = lockfile.packages[""]!;
      return installedWith(lockfile, Object.keys({ ...dependencies, ...peerDependencies }))
        .filter(({ licence }) => !isAllowed(licence))
        .map(({ name, version, licence }) => `${name} ${version} has the licence ${licence}.`);
    },
  },
  {
    name: "the package has what it needs and nothing else",
    action: "files in package.json",
    async faults() {
      const output = await run("npm", "pack", "--dry-run", "--json", "--ignore-scripts", "--silent");
      const [packed] = JSON.parse(output.slice(output.indexOf("["))) as [Packed];
      return packFaults(packed);
    },
  },
  { name: "lint and types", action: "npm run lint && npm run typecheck" },
  {
    name: "the schema, the diagrams and the client's types are fresh",
    action: "npx plinth schema check && npx plinth docs --check",
  },
  { name: "the access contract is fresh", action: "npm run contract" },
  { name: "commands and claims of README and docs", action: "npm test -- test/docs test/package" },
  { name: "examples", action: "npm test -- test/examples test/browser" },
  { name: "the whole suite", action: "npm test" },
];

export function versionFaults(
  manifest: { readonly version: string },
  lockfile: { readonly packages: Readonly<Record<string, { readonly version?: string }>> },
  changelog: string,
): string[] {
  const { version } = manifest;
  const [entry] = parseChangelog(changelog);
  const locked = lockfile.packages[""]?.version;
  return [
    ...(locked === version ? [] : [`package-lock.json has ${locked}, package.json ${version}.`]),
    ...(entry?.version === UNRELEASED
      ? [`CHANGELOG.md has changes under [${UNRELEASED}]: give them the version.`]
      : []),
    ...(entry && entry.version !== UNRELEASED && entry.version !== version
      ? [`The newest entry of CHANGELOG.md is ${entry.version}, package.json has ${version}.`]
      : []),
    ...(entry && entry.version !== UNRELEASED && !entry.date
      ? [`The entry ${entry.version} has no date.`]
      : []),
    ...(entry ? [] : ["CHANGELOG.md has no entry."]),
  ];
}

/** Versions as in `plinth-1.0.0.tgz`, `plinth:1.0.0` and "candidate 1.0.0-rc.1". */
export function namedVersionFaults(file: string, text: string, version: string): string[] {
  const named = [...text.matchAll(/(?:plinth[-:]|candidate\s)(\d+\.\d+\.\d+(?:-rc\.\d+)?)/g)].map(
    ([, each]) => each!,
  );
  return [...new Set(named)]
    .filter((each) => each !== version)
    .map((each) => `${file} names the version ${each}, package.json has ${version}.`);
}

async function migrationFaults(): Promise<string[]> {
  const faults = await frozenMigrationFaults(MIGRATIONS_FOLDER);
  const unreleased = (await readFrozenMigrations(MIGRATIONS_FOLDER))?.get("unreleased")?.keys() ?? [];
  const isWriting = !isBlankSql(read("current.sql"));
  return [
    ...faults,
    ...[...unreleased].map((file) => `${file} is not frozen.`),
    ...(isWriting ? ["current.sql has a migration that is not committed."] : []),
  ];
}

/** Runs a script of package.json with --check. */
async function script(name: string): Promise<string[]> {
  try {
    await run(process.execPath, `tools/${name}.ts`, "--check");
    return [];
  } catch (error) {
    return [String((error as { stderr?: string }).stderr).trim()];
  }
}

async function run(file: string, ...args: string[]): Promise<string> {
  const options = { cwd: PACKAGE_ROOT, maxBuffer: 64 * 1024 * 1024 };
  return (await promisify(execFile)(file, args, options)).stdout;
}
