import { statSync } from "node:fs";
import { PlinthError } from "../../support/errors.ts";
import { unlessMissing } from "../../support/files.ts";
import { type RunAs, runProgram } from "./programs.ts";

const USER = "postgres";

/** The commands of shadow on most systems and of BusyBox on Alpine. The group may already exist, so its failure is ignored. */
const ACCOUNT_COMMANDS: [string, string[]][][] = [
  [
    ["groupadd", ["--system", USER]],
    ["useradd", ["--system", "--gid", USER, "--no-create-home", "--shell", "/usr/sbin/nologin", USER]],
  ],
  [
    ["addgroup", ["-S", USER]],
    ["adduser", ["-S", "-D", "-H", "-G", USER, "-s", "/sbin/nologin", USER]],
  ],
];

/**
 * Chooses the user to run PostgreSQL as; undefined means the current user. PostgreSQL refuses to run as root, so root chooses
 * the owner of the existing data or else the system user `postgres`, which is created if missing.
 * @throws PlinthError NO_DATABASE_USER
 */
export async function chooseRunAs(clusterFolder: string): Promise<RunAs | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const owner = unlessMissing(() => statSync(clusterFolder));
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  let found = await findUser();
  if (!found) {
    await createUser();
    found = await findUser();
  }
  if (found) return found;
  throw new PlinthError(
    "NO_DATABASE_USER",
    `PostgreSQL refuses to run as root, and the system user "${USER}" is missing and could not be created.`,
    { hint: `Create the user (useradd --system ${USER}), or start Plinth as an ordinary user.` },
  );
}

async function findUser(): Promise<RunAs | undefined> {
  const [uid, gid] = await Promise.all(["-u", "-g"].map((flag) => systemCommand("id", [flag, USER])));
  return uid && gid && Number(uid) > 0 ? { uid: Number(uid), gid: Number(gid) } : undefined;
}

async function createUser(): Promise<void> {
  for (const [[group, groupArgs], [user, userArgs]] of ACCOUNT_COMMANDS as [
    [string, string[]],
    [string, string[]],
  ][]) {
    await systemCommand(group, groupArgs);
    if ((await systemCommand(user, userArgs)) !== undefined) return;
  }
}

/** Returns the output of a command; undefined if it failed or does not exist. */
async function systemCommand(name: string, args: string[]): Promise<string | undefined> {
  for (const folder of ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]) {
    try {
      const { status, output } = await runProgram(`${folder}/${name}`, args);
      return status === 0 ? output.trim() : undefined;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}
