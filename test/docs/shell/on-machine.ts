import { readFileSync } from "node:fs";
import { join } from "node:path";
import { generateBackupKey } from "../../../src/auth/backup-keys.ts";
import { outcomeOf, startCli } from "../../cli/run-cli.ts";
import type { Terminal } from "../../support/shell/terminal.ts";
import { startSettings } from "./machine.ts";
import { faultsOf, type Recipe } from "./recipe.ts";

/** `npm start` in the folder of a terminal, with the settings of the pages. */
export interface Machine extends AsyncDisposable {
  run(recipe: Recipe): Promise<string[]>;
}

export async function startMachine(terminal: Terminal): Promise<Machine> {
  const { folder } = terminal;
  const data = join(folder, "data");
  const env = {
    PLINTH_DATA: data,
    PLINTH_PORT: "0",
    PLINTH_BACKUPS: join(folder, "backups"),
    PLINTH_BACKUP_KEY: generateBackupKey(),
    ...startSettings(),
  };
  const child = startCli(["start"], env);
  const ended = outcomeOf(child);
  const url = await new Promise<string>((resolve, reject) => {
    let banner = "";
    for (const stream of [child.stdout!, child.stderr!])
      stream.on("data", (text: string) => {
        banner += text;
        const [, origin] = /(http:\/\/127\.0\.0\.1:\d+)[\s\S]*Ctrl-C to stop it/.exec(banner) ?? [];
        if (origin) resolve(origin);
      });
    child.once("exit", () => reject(new Error(`plinth start ended:\n${banner}`)));
  });
  const { demo } = JSON.parse(readFileSync(join(data, "secrets.json"), "utf8"));
  return {
    run: (recipe) =>
      faultsOf(
        recipe,
        terminal,
        {
          PLINTH_DATA: data,
          PLINTH_URL: url,
          PLINTH_SESSION: join(folder, "session.json"),
          PORT: "0",
          URL: url,
          ADA: demo.ada,
          SERVER: `${child.pid}`,
          BACKUPS: env.PLINTH_BACKUPS,
          BACKUP_KEY: env.PLINTH_BACKUP_KEY,
        },
        (text) => text.replaceAll("http://127.0.0.1:5678", url),
      ),
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await ended;
    },
  };
}
