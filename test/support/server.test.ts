import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "@jest/globals";

// A test run may be cut off in any way; its server must not stay behind.

test("an embedded server ends with the run that started it, even when that is killed", async () => {
  const child = spawn(
    process.execPath,
    [
      "--input-type=module-typescript",
      "-e",
      `import { startTestServer } from ${JSON.stringify(join(import.meta.dirname, "server.ts"))};
         const server = await startTestServer({});
         console.log(server.folder);
         setInterval(() => {}, 1000);`,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const [folder] = (await once(createInterface(child.stdout), "line")) as [string];
  expect(existsSync(join(folder, "postgres", "postmaster.pid"))).toBe(true);
  child.kill("SIGKILL");
  await once(child, "exit");
  for (let i = 0; i < 50 && existsSync(folder); i++) await sleep(100);
  // The watchdog removes the folder last, when the server is gone.
  expect(existsSync(folder)).toBe(false);
});
