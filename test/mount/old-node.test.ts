import { readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

// An older Node reads every file that `import "plinth"` loads before any of them runs: syntax that it does not know, or a name that
// its own modules do not export, would be a SyntaxError instead of NODE_TOO_OLD.

/** Imports and re-exports of values; `import("…")` loads its file only when it runs. */
const LOADS = /^(?:import|export) (?!type\b)(?:[^;]*? from )?"([^"]+)";/gm;

function loadedBy(file: string, found = new Map<string, string>()): Map<string, string> {
  if (found.has(file)) return found;
  const text = readFileSync(join(PACKAGE_ROOT, file), "utf8");
  found.set(file, text);
  for (const [, path] of text.matchAll(LOADS))
    if (path!.startsWith("."))
      loadedBy(relative(PACKAGE_ROOT, join(PACKAGE_ROOT, dirname(file), path!)), found);
  return found;
}

test("importing the library loads only a few files, without newer syntax or packages", () => {
  const loaded = loadedBy("src/index.ts");
  expect([...loaded.keys()].sort()).toEqual([
    "src/application/application.ts",
    "src/config/app-settings.ts",
    "src/config/archive-settings.ts",
    "src/config/backup-settings.ts",
    "src/config/config.ts",
    "src/config/connection-settings.ts",
    "src/config/environment.ts",
    "src/config/import-source.ts",
    "src/config/mail-settings.ts",
    "src/config/model-settings.ts",
    "src/config/observability-settings.ts",
    "src/config/progress-setting.ts",
    "src/config/roles.ts",
    "src/connection/database-url.ts",
    "src/http/http-error.ts",
    "src/index.ts",
    "src/request/client-error.ts",
    "src/request/context.ts",
    "src/support/errors.ts",
    "src/support/loopback.ts",
    "src/support/node-version.ts",
  ]);
  const packages = [...loaded.values()].flatMap((text) =>
    [...text.matchAll(LOADS)].map(([line]) => line).filter((line) => !/"\.[^"]+";$/.test(line)),
  );
  expect(packages.sort()).toEqual([
    'import { AsyncLocalStorage } from "node:async_hooks";',
    'import { availableParallelism } from "node:os";',
    'import { isIP } from "node:net";',
    'import { isIP } from "node:net";',
    'import { join, resolve } from "node:path";',
    'import { randomUUID } from "node:crypto";',
    'import { readFileSync } from "node:fs";',
    'import { resolve } from "node:path";',
    'import { resolve } from "node:path";',
    'import { resolve } from "node:path";',
  ]);
  for (const text of loaded.values()) expect(text).not.toMatch(/\busing \w|\bimport defer\b|^\s*@\w/m);
});
