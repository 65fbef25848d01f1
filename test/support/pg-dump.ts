import { execFile, execFileSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The folder of pg_dump and pg_restore of this version or newer, or undefined: the embedded server comes without them. */
export async function findPgDump(major: number): Promise<string | undefined> {
  const debian = "/usr/lib/postgresql";
  const versions = await readdir(debian).catch(() => []);
  const folders = [
    ...(process.env.PATH ?? "").split(":"),
    ...versions.map((version) => join(debian, version, "bin")),
  ];
  return folders.find((folder) => majorOf(join(folder, "pg_dump")) >= major);
}

function majorOf(program: string): number {
  try {
    const text = execFileSync(program, ["--version"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return Number(/ (\d+)/.exec(text)?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** Dumps a database and restores it into another one, both as the role of the URL. */
export async function dumpAndRestore(folder: string, from: string, to: string): Promise<void> {
  const temporary = await mkdtemp(join(tmpdir(), "plinth-dump-"));
  try {
    const file = join(temporary, "plinth.dump");
    await run(join(folder, "pg_dump"), ["--format=custom", `--file=${file}`, from]);
    await run(join(folder, "pg_restore"), ["--exit-on-error", `--dbname=${to}`, file]);
  } finally {
    await rm(temporary, { recursive: true });
  }
}

/** The tables of a plain dump of the whole database with a row that contains any of some texts. */
export async function dumpAsText(
  folder: string,
  from: string,
): Promise<{ tablesWith(texts: readonly string[]): string[] }> {
  const { stdout } = await run(join(folder, "pg_dump"), ["--format=plain", from], { maxBuffer: 1 << 28 });
  return {
    tablesWith(texts) {
      const found = new Set<string>();
      let table = "(no table)";
      for (const line of stdout.split("\n")) {
        table = /^COPY (\S+) .*FROM stdin;$/.exec(line)?.[1] ?? (line === "\\." ? "(no table)" : table);
        const text = line.toLowerCase();
        if (texts.some((each) => text.includes(each) || text.includes(Buffer.from(each).toString("hex"))))
          found.add(table);
      }
      return [...found].sort();
    },
  };
}
