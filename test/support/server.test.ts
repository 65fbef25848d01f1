import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "@jest/globals";
import { until } from "./api.ts";
import { useMemoryForTemporaryFiles } from "./memory-folder.ts";
import { startTestServer } from "./server.ts";

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
  // The watchdog removes the folder last, when the server is gone.
  await until(() => !existsSync(folder), { everyMs: 100 });
});

test("rejects a version of PostgreSQL that it cannot start, and names those that it can", async () => {
  await expect(startTestServer({ TEST_POSTGRES_VERSION: "14" })).rejects.toThrow(
    "TEST_POSTGRES_VERSION is 14, but must be 15, 16, 17 or 18.",
  );
});

test("temporary files are in memory where there is enough, and a TMPDIR that is set stays", async () => {
  process.env.TMPDIR = "/elsewhere";
  await (await useMemoryForTemporaryFiles()).remove();
  expect(process.env.TMPDIR).toBe("/elsewhere");

  delete process.env.TMPDIR;
  const memory = await useMemoryForTemporaryFiles();
  const folder = process.env.TMPDIR as string | undefined;
  if (folder !== undefined) {
    expect(folder).toMatch(/^\/dev\/shm\/plinth-/);
    await writeFile(join(folder, "file"), "");
    await memory.remove();
    expect(existsSync(folder)).toBe(false);
  }
});
