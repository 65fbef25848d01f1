import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { PACKAGE_ROOT } from "../../../src/support/paths.ts";
import { cleanEnv, LAUNCHER } from "../../cli/run-cli.ts";
import { removeFolder } from "../remove-folder.ts";

/** A command of a page as it runs, and what the reader expects. */
interface Entry {
  readonly text: string;
  /** Of the exit code. */
  readonly code: number;
}

interface Ran {
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** The programs that commands need and this machine lacks; .ci/run installs jq and psql. */
export function missingPrograms(names: readonly string[] = ["bash", "curl", "psql"]): string[] {
  return names.filter((name) => spawnSync("sh", ["-c", `command -v ${name}`]).status !== 0);
}

/** A folder with the programs of a reader's terminal, in which `npx plinth` is this package. */
export interface Terminal extends AsyncDisposable {
  readonly folder: string;
  /** Runs the commands in one shell, up to the first that ends with another code than expected. */
  run(entries: readonly Entry[], cwd: string, env: Readonly<Record<string, string>>): Promise<Ran[]>;
}

export async function openTerminal(): Promise<Terminal> {
  const folder = await mkdtemp(join(tmpdir(), "plinth-pages-"));
  // The embedded server runs as another user if this one is root, and writes backups below.
  chmodSync(folder, 0o755);
  const socket = join(folder, "plinth.sock");
  const bin = join(folder, ".bin");
  mkdirSync(bin);
  writeFileSync(join(bin, "npx"), npx(socket), { mode: 0o755 });
  const resident = spawn(process.execPath, [join(import.meta.dirname, "resident.ts"), socket], {
    env: cleanEnv(),
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
  // Of the packages that the pages use: Stripe's and otpauth.
  symlinkSync(join(PACKAGE_ROOT, "node_modules"), join(folder, "node_modules"));
  await ready(resident);
  return {
    folder,
    async run(entries, cwd, env) {
      const output = await mkdtemp(join(folder, ".output-"));
      const place = (index: number) => join(output, String(index));
      const script = entries.map(({ text, code }, index) => {
        const file = place(index);
        return `OUT=${file}.out\n{\n${text}\n} >${file}.out 2>${file}.err </dev/null\ncode=$?; echo $code >${file}.code; LAST=${file}.out\n[ $code = ${code} ] || exit 0\n`;
      });
      const path = `${bin}:${dirname(process.execPath)}:${process.env.PATH}`;
      const shell = spawn("sh", ["-c", script.join("")], {
        cwd,
        env: cleanEnv({ HOME: folder, PAGER: "cat", ...env, PATH: path }),
        stdio: ["ignore", "ignore", "inherit"],
      });
      await once(shell, "close");
      return entries.map((_, index) => {
        const code = read(`${place(index)}.code`).trim();
        return {
          code: code === "" ? undefined : Number(code),
          stdout: read(`${place(index)}.out`),
          stderr: read(`${place(index)}.err`),
        };
      });
    },
    async [Symbol.asyncDispose]() {
      const ended = once(resident, "close");
      resident.kill();
      await ended;
      await removeFolder(folder);
    },
  };
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

async function ready(resident: ChildProcess): Promise<void> {
  const [first] = await Promise.race([once(resident.stdout!, "data"), once(resident, "close")]);
  if (!String(first).startsWith("ready")) throw new Error(`The process of plinth ended with ${first}.`);
}

/**
 * The script `npx`. Commands that read their input, or that run until they are stopped, get a process of their own, as in a terminal.
 */
const npx = (socket: string) => `#!/bin/bash
case "$1" in
  node) shift; cd '${PACKAGE_ROOT}' && exec '${process.execPath}' "$@" ;;
  plinth) shift ;;
  *) echo "npx: no program $1" >&2; exit 127 ;;
esac
case "$1" in start | serve | work | answer) exec '${process.execPath}' '${LAUNCHER}' "$@" ;; esac
[ -c /dev/stdin ] || exec '${process.execPath}' '${LAUNCHER}' "$@"
output=$(mktemp -d)
code=$({ printf '%s\\0' "$PWD" "$output" "$#" "$@"; env -0; } |
  curl --silent --unix-socket '${socket}' --data-binary @- http://plinth/)
cat "$output/stdout"
cat "$output/stderr" >&2
rm -r "$output"
exit "$code"
`;
