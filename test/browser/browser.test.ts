import { execFile } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { CHROMIUM } from "./chromium.ts";

// Each script opens pages in a real Chromium, which not every machine has. It runs alone too: `node test/browser/…`.

const SCRIPTS = readdirSync(import.meta.dirname).filter((file) => file.endsWith("-in-chromium.ts"));
const inChromium = existsSync(CHROMIUM) ? test.each(SCRIPTS) : test.skip.each(SCRIPTS);

/** Ends a script that hangs, with its browsers and its database, before the time of the test is over. */
const HOPELESS_MS = 570_000;

inChromium(
  "%s",
  async (script) => {
    const { code, out } = await new Promise<{ code: unknown; out: string }>((resolve) => {
      const path = join(import.meta.dirname, script);
      execFile(process.execPath, [path], { timeout: HOPELESS_MS }, (error, stdout, stderr) =>
        resolve({ code: error?.code ?? error?.signal ?? 0, out: stdout + stderr }),
      );
    });
    expect(out.match(/^FAIL.*|.*Error.*/gm) ?? []).toEqual([]);
    expect(out).toMatch(/^ok/m);
    expect(code).toBe(0);
  },
  600_000,
);
