import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { CHROMIUM } from "./chromium.ts";

// Each script opens pages in a real Chromium, which not every machine has. It runs alone too: `node test/browser/…`.

const SCRIPTS = readdirSync(import.meta.dirname).filter((file) => file.endsWith("-in-chromium.ts"));
const inChromium = existsSync(CHROMIUM) ? test.each(SCRIPTS) : test.skip.each(SCRIPTS);

inChromium("%s", async (script) => {
  const { code, out } = await new Promise<{ code: unknown; out: string }>((resolve) => {
    execFile(process.execPath, [join(import.meta.dirname, script)], (error, stdout, stderr) =>
      resolve({ code: error?.code ?? 0, out: stdout + stderr }),
    );
  });
  expect(out.match(/^FAIL.*|.*Error.*/gm) ?? []).toEqual([]);
  expect(out).toMatch(/^ok/m);
  expect(code).toBe(0);
});
