import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { run } from "../../../src/cli/run.ts";

/*
 * A process that runs one command of plinth after the other, so that a page with twenty commands loads the modules once. The script
 * `npx` of terminal.ts asks it over a socket: the folder, a folder for the output, the arguments and the environment of the command, each
 * ended by a zero. The answer is the exit code.
 */
const [socket] = process.argv.slice(2);

const write = { stdout: process.stdout.write, stderr: process.stderr.write };

async function command(request: string): Promise<number> {
  const [cwd, folder, count, ...rest] = request.split("\0");
  const args = rest.slice(0, Number(count));
  process.env = Object.fromEntries(
    rest
      .slice(Number(count))
      .filter((each) => each.includes("="))
      .map((each) => [each.slice(0, each.indexOf("=")), each.slice(each.indexOf("=") + 1)]),
  );
  process.chdir(cwd!);
  process.exitCode = undefined;
  const output = { stdout: [] as string[], stderr: [] as string[] };
  for (const name of ["stdout", "stderr"] as const)
    process[name].write = ((chunk: string | Uint8Array, ...others: unknown[]) => {
      output[name].push(typeof chunk === "string" ? chunk : Buffer.from(chunk).toString());
      for (const each of others) if (typeof each === "function") each();
      return true;
    }) as typeof process.stdout.write;
  try {
    return await run(args);
  } finally {
    for (const name of ["stdout", "stderr"] as const) process[name].write = write[name];
    process.exitCode = undefined;
    for (const name of ["stdout", "stderr"] as const)
      await writeFile(join(folder!, name), output[name].join(""));
  }
}

/** One at a time: the folder, the environment and the output belong to the process. */
let queue: Promise<unknown> = Promise.resolve();
const server = createServer((request, response) => {
  queue = queue.then(async () => {
    const code = await command(await text(request)).catch((error: unknown) => {
      process.stderr.write(`${error}\n`);
      return 70;
    });
    response.end(`${code}`);
  });
});
server.listen(socket, () => process.stdout.write("ready\n"));
process.once("SIGTERM", () => process.exit(0));
// The test is gone.
process.once("disconnect", () => process.exit(0));
