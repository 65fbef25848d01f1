import pg from "pg";
import { archiveDueMonths } from "../../src/archive/archive-due-months.ts";
import { attachArchive, detachArchive } from "../../src/archive/attach-archive.ts";
import { eraseArchives } from "../../src/archive/erase-archives.ts";

/*
 * A process that runs, attaches, detaches or erases archives, for tests that kill it: it kills itself with SIGKILL right after the step
 * whose message contains `killAt`.
 */
const [url, directory, key, killAt, command, id] = process.argv.slice(2);
const client = new pg.Client(url);
await client.connect();
const writer = {
  client,
  directory: directory!,
  keys: [Buffer.from(key!, "hex")],
  signal: new AbortController().signal,
  log(line: string) {
    if (line.includes(killAt!)) process.kill(process.pid, "SIGKILL");
  },
};
if (command === "attach") await attachArchive(writer, id!);
else if (command === "detach") await detachArchive(writer, id!);
else if (command === "erase") await eraseArchives(writer);
else await archiveDueMonths({ ...writer, url: url! });
await client.end();
