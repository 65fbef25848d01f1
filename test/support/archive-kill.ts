import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { ARCHIVE_LOCK } from "../../src/archive/archive-lock.ts";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { withClient } from "./client.ts";

const PROGRAM = join(PACKAGE_ROOT, "test/support/archive-process.ts");

/**
 * Runs a command on archives in a process that kills itself after a step, and waits until the server has noticed it: until then, its
 * connection keeps the lock on the archives, for which another command waits 5 s only.
 * @returns how the process ended
 */
export async function killArchiving(
  { directory, keys }: { readonly directory: string; readonly keys: readonly Buffer[] },
  {
    url,
    step,
    command,
  }: { readonly url: string; readonly step: string; readonly command: readonly string[] },
): Promise<{ code: number | null; killedBy: string | null }> {
  const child = spawn(
    process.execPath,
    [PROGRAM, url, directory, keys[0]!.toString("hex"), step, ...command],
    {
      stdio: ["ignore", "ignore", "inherit"],
    },
  );
  const [code, killedBy] = await once(child, "exit");
  await withClient(url, async (client) => {
    await client.query("set lock_timeout = 0");
    await client.query("select pg_advisory_lock($1), pg_advisory_unlock($1)", [ARCHIVE_LOCK]);
  });
  return { code, killedBy };
}
