import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

const FIXTURES = join(PACKAGE_ROOT, "test", "import", "fixtures");

/** On some machines, real files lie next to the repository; elsewhere the fixtures replace them. */
function realOrFixture(real: string, fixture: string): string {
  const path = join(PACKAGE_ROOT, "..", "shared", "data", real);
  return existsSync(path) ? path : join(FIXTURES, fixture);
}

export const PROMPT_FILES = [
  ...new Set([realOrFixture("prompts.csv", "prompts.csv"), join(FIXTURES, "prompts.csv")]),
];
export const MODEL_FOLDERS = [...new Set([realOrFixture("llm-prices", "models"), join(FIXTURES, "models")])];
export const MODEL_FIXTURES = join(FIXTURES, "models");
export const CHAT_FIXTURES = join(FIXTURES, "chats");
export const PROMPT_FIXTURE = join(FIXTURES, "prompts.csv");

/** A folder that `remove()` deletes together with all files that `write()` wrote. */
export async function makeFolder(): Promise<{
  path: string;
  write(name: string, content: string | Buffer): Promise<string>;
  remove(): Promise<void>;
}> {
  const path = await mkdtemp(join(tmpdir(), "plinth-import-"));
  return {
    path,
    async write(name, content) {
      await writeFile(join(path, name), content);
      return join(path, name);
    },
    remove: () => rm(path, { recursive: true }),
  };
}
