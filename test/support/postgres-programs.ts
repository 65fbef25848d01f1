import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { type Binaries, findBinaries } from "../../src/database/embedded/binaries.ts";
import type { RunAs } from "../../src/database/embedded/programs.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

/** The supported versions before that of the embedded server, oldest first. */
export const OLDER_VERSIONS = [15, 16, 17] as const;
export type OlderVersion = (typeof OLDER_VERSIONS)[number];

/** A package of its own, so that `npm ci` of Plinth does not download three more servers. */
const PACKAGES = join(PACKAGE_ROOT, "test/postgres-versions");

/** Finds the programs of a version: those of test/postgres-versions if installed, else those of Debian's package. */
export async function findPrograms(
  version: OlderVersion,
  runAs: RunAs | undefined,
): Promise<Binaries | undefined> {
  const wrapper = installedWrapper(version);
  if (wrapper) return findBinaries(runAs, wrapper);
  const [initdb, postgres] = ["initdb", "postgres"].map((name) => ofDebian(version, name)) as [
    string,
    string,
  ];
  return existsSync(initdb) ? { initdb, postgres, version: String(version), major: version } : undefined;
}

/** Whether `findPrograms` finds any. */
export function hasPrograms(version: OlderVersion): boolean {
  return installedWrapper(version) !== undefined || existsSync(ofDebian(version, "initdb"));
}

const ofDebian = (version: OlderVersion, program: string): string =>
  `/usr/lib/postgresql/${version}/bin/${program}`;

/** Downloads the programs of all older versions. */
export function installPrograms(): void {
  execFileSync("npm", ["ci", "--prefix", PACKAGES, "--no-audit", "--no-fund"], { stdio: "inherit" });
}

function installedWrapper(version: OlderVersion): string | undefined {
  const name = `postgres-${version}`;
  if (!existsSync(join(PACKAGES, "node_modules", name))) return undefined;
  return createRequire(join(PACKAGES, "package.json")).resolve(name);
}
