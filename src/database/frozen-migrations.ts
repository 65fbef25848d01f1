import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PlinthError } from "../support/errors.ts";

/**
 * The list of checksums, in a folder of migrations. Under the heading of each release are its migrations and their rollbacks, which
 * are frozen: databases have run them. Those under the last heading may still be committed again. `sha256sum --check` reads it, too.
 */
export const CHECKSUMS = "CHECKSUMS";
const UNRELEASED = "unreleased";

const INTRODUCTION = `# SHA-256 of the migrations of each release and of their rollbacks, which no longer change.
# Written by \`plinth migrate commit\` and \`npm run release:freeze\`; \`sha256sum --check CHECKSUMS\` verifies it.
`;

/** Checksums by path in the folder, such as committed/000001-foundation.sql. */
type Checksums = ReadonlyMap<string, string>;

/** The checksums of each release, oldest first; `unreleased` comes last, if it is there. */
export type FrozenMigrations = ReadonlyMap<string, Checksums>;

/** @returns undefined if the folder has no list, as that of an application that releases no package */
export async function readFrozenMigrations(migrationsFolder: string): Promise<FrozenMigrations | undefined> {
  const path = join(migrationsFolder, CHECKSUMS);
  if (!existsSync(path)) return undefined;
  const releases = new Map<string, Map<string, string>>();
  let release: Map<string, string> | undefined;
  for (const line of (await readFile(path, "utf8")).split("\n")) {
    const [, heading] = /^## (\S+)$/.exec(line) ?? [];
    const [, checksum, file] = /^([0-9a-f]{64}) {2}(\S+)$/.exec(line) ?? [];
    if (heading !== undefined) {
      release = new Map();
      releases.set(heading, release);
    } else if (checksum && file && release) release.set(file, checksum);
    else if (line !== "" && !line.startsWith("# "))
      throw new PlinthError("MIGRATIONS_INVALID", `${CHECKSUMS} has a line that is not a checksum: ${line}`);
  }
  return releases;
}

/** The release of the migration with a number; undefined if it is not released. */
export function releaseOfNumber(frozen: FrozenMigrations | undefined, number: number): string | undefined {
  const start = `committed/${String(number).padStart(6, "0")}-`;
  const file = [...(frozen?.values() ?? [])]
    .flatMap((files) => [...files.keys()])
    .find((each) => each.startsWith(start));
  return file === undefined ? undefined : releaseOf(frozen, file);
}

/** The release that a committed migration or a rollback belongs to; undefined if it is not released. */
export function releaseOf(frozen: FrozenMigrations | undefined, file: string): string | undefined {
  return [...(frozen ?? [])].find(([release, files]) => release !== UNRELEASED && files.has(file))?.[0];
}

/** Returns a sentence for each file that differs from the list, is missing, or is not listed. */
export async function frozenMigrationFaults(migrationsFolder: string): Promise<string[]> {
  const frozen = await readFrozenMigrations(migrationsFolder);
  if (!frozen) return [`${CHECKSUMS} is missing in ${migrationsFolder}.`];
  const faults: string[] = [];
  const listed = new Set<string>();
  for (const [release, files] of frozen)
    for (const [file, checksum] of files) {
      listed.add(file);
      const isReleased = release !== UNRELEASED;
      const whose = isReleased ? `was released with ${release}` : "is committed";
      const action = isReleased
        ? "Restore it, and put the change into a new migration."
        : "Run plinth migrate recommit, which writes its checksum.";
      const path = join(migrationsFolder, file);
      if (!existsSync(path)) faults.push(`${file} ${whose}, but it is missing. ${action}`);
      else if ((await checksumOf(path)) !== checksum)
        faults.push(`${file} ${whose}, but it has been changed. ${action}`);
    }
  for (const name of await sqlFiles(migrationsFolder, "committed"))
    if (!listed.has(`committed/${name}`))
      faults.push(
        `committed/${name} is not listed in ${CHECKSUMS}. Run plinth migrate recommit --from ${Number.parseInt(name, 10)}.`,
      );
  return faults;
}

/** Lists the committed migrations that are not released. Without a list, it does nothing. */
export async function listUnreleased(migrationsFolder: string): Promise<void> {
  const frozen = await readFrozenMigrations(migrationsFolder);
  if (!frozen) return;
  const names = await sqlFiles(migrationsFolder, "committed");
  const files = names.map((name) => `committed/${name}`).filter((file) => !releaseOf(frozen, file));
  await writeList(
    migrationsFolder,
    new Map([...frozen, [UNRELEASED, await checksumsOf(migrationsFolder, files)]]),
  );
}

/**
 * Freezes all committed migrations that are not released, with their rollbacks, as part of a release.
 * @returns the names of the migrations
 */
export async function freezeMigrations(migrationsFolder: string, release: string): Promise<string[]> {
  const frozen = new Map(await readFrozenMigrations(migrationsFolder));
  frozen.delete(UNRELEASED);
  const names = (await sqlFiles(migrationsFolder, "committed")).filter(
    (name) => !releaseOf(frozen, `committed/${name}`),
  );
  const files = names.flatMap((name) => [`committed/${name}`, `rollback/${name}`]);
  const added = await checksumsOf(migrationsFolder, files);
  await writeList(migrationsFolder, frozen.set(release, new Map([...(frozen.get(release) ?? []), ...added])));
  return names;
}

async function writeList(migrationsFolder: string, frozen: FrozenMigrations): Promise<void> {
  const sections = [...frozen]
    .filter(([, files]) => files.size > 0)
    .map(
      ([release, files]) =>
        `\n## ${release}\n${[...files].map(([file, sum]) => `${sum}  ${file}\n`).join("")}`,
    );
  await writeFile(join(migrationsFolder, CHECKSUMS), INTRODUCTION + sections.join(""));
}

async function checksumsOf(migrationsFolder: string, files: readonly string[]): Promise<Checksums> {
  return new Map(
    await Promise.all(
      files.map(async (file) => [file, await checksumOf(join(migrationsFolder, file))] as const),
    ),
  );
}

async function checksumOf(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}

async function sqlFiles(migrationsFolder: string, folder: string): Promise<string[]> {
  const names = await readdir(join(migrationsFolder, folder));
  return names.filter((name) => name.endsWith(".sql")).sort();
}
