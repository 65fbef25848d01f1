import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { frozen } from "../../src/database/commit-migration.ts";

/** Contents of a migrations folder by path below it; committed files without headers, in order. */
export interface FolderContents {
  committed?: Record<string, string>;
  rollback?: Record<string, string>;
  fixtures?: Record<string, string>;
  current?: string;
}

export interface MigrationsFolder {
  readonly path: string;
  read(name: string): Promise<string>;
  write(name: string, text: string): Promise<void>;
  remove(): Promise<void>;
}

/** Creates a throw-away migrations folder, with committed files as a commit would write them. */
export async function makeMigrationsFolder(contents: FolderContents): Promise<MigrationsFolder> {
  const path = await mkdtemp(join(tmpdir(), "plinth-test-migrations-"));
  const folder: MigrationsFolder = {
    path,
    read: (name) => readFile(join(path, name), "utf8"),
    async write(name, text) {
      await mkdir(dirname(join(path, name)), { recursive: true });
      await writeFile(join(path, name), text);
    },
    remove: () => rm(path, { recursive: true, force: true }),
  };
  await mkdir(join(path, "committed"));
  let previousHash: string | undefined;
  for (const [name, body] of Object.entries(contents.committed ?? {})) {
    const { text, hash } = frozen(`${body.trim()}\n`, {}, previousHash);
    await folder.write(join("committed", name), text);
    previousHash = hash;
  }
  for (const kind of ["rollback", "fixtures"] as const)
    for (const [name, text] of Object.entries(contents[kind] ?? {}))
      await folder.write(join(kind, name), text);
  if (contents.current !== undefined) await folder.write("current.sql", contents.current);
  return folder;
}
