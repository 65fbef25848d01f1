import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { renderApplicationContract } from "./application-page.ts";

const MACHINE_FILE = "access-contract.jsonl";
const PAGE = "access-contract.md";

/** The contract that the folder has; undefined before the first one. */
export const readContractFile = (folder: string): Promise<string | undefined> =>
  readIfThere(join(folder, MACHINE_FILE));

/** The seed of an application's project; undefined if it has none. */
export const readSeed = (file: string): Promise<string | undefined> => readIfThere(file);

const filesOf = (text: string): ReadonlyMap<string, string> =>
  new Map([
    [MACHINE_FILE, text],
    [PAGE, renderApplicationContract(text)],
  ]);

/** The names of the files that differ from the contract. */
export async function staleFiles(folder: string, text: string): Promise<readonly string[]> {
  const files = [...filesOf(text)];
  const current = await Promise.all(files.map(([name]) => readIfThere(join(folder, name))));
  return files.filter(([, content], i) => current[i] !== content).map(([name]) => name);
}

export async function writeContractFiles(folder: string, text: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, content] of filesOf(text)) await writeFile(join(folder, name), content);
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
