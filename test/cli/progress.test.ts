import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import type { WriteStream } from "node:tty";
import { afterEach, beforeEach, describe, expect, jest, test } from "@jest/globals";
import type { Command } from "commander";
import { note, print } from "../../src/cli/output.ts";
import { buildProgram } from "../../src/cli/program.ts";
import { FIRST_STEPS, firstStepOf, pathOf } from "../../src/cli/progress/first-steps.ts";
import { pauseProgress, showProgress, startProgress, stopProgress } from "../../src/cli/progress/progress.ts";
import { logLine, terminalLine } from "../../src/cli/progress/text.ts";
import { progressStyle } from "../../src/config/progress-setting.ts";
import { cleanEnv, LAUNCHER } from "./run-cli.ts";

const migrations = { step: "Applying migrations", done: 12, total: 27, unit: "migrations" };

/** The screen of a terminal without scrolling, from the control sequences that a line needs. */
function screenOf(text: string): string {
  let lines = [""];
  let saved = 0;
  let column = 0;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a terminal's.
  for (const [token] of text.matchAll(/\x1b\[\d*[A-Za-z]|\x1b[78]|[\s\S]/g)) {
    const line = lines.at(-1)!;
    if (token === "\x1b7") saved = column;
    else if (token === "\x1b8") column = saved;
    else if (["\x1b[G", "\x1b[1G", "\r"].includes(token)) column = 0;
    else if (token === "\x1b[0K" || token === "\x1b[K")
      lines = [...lines.slice(0, -1), line.slice(0, column)];
    else if (token === "\x1b[2K") lines = [...lines.slice(0, -1), ""];
    else if (token === "\n") {
      lines.push("");
      column = 0;
    } else if (token.startsWith("\x1b")) throw new Error(`unexpected sequence ${JSON.stringify(token)}`);
    else {
      lines = [...lines.slice(0, -1), line.slice(0, column).padEnd(column) + token + line.slice(column + 1)];
      column += 1;
    }
  }
  return lines.join("\n");
}

function fakeStream(isTTY: boolean, columns = 100) {
  let written = "";
  const write = (text: string): boolean => {
    written += text;
    return true;
  };
  const stream = { isTTY, columns, write };
  return {
    stream: stream as unknown as WriteStream,
    resize: (width: number) => {
      stream.columns = width;
    },
    written: () => written,
    screen: () => screenOf(written),
  };
}

describe("the line of a terminal", () => {
  test("has the name, a bar, the percentage, the counts, the time left and the rate", () => {
    expect(terminalLine(migrations, 4, 100)).toBe(
      "Applying migrations ███████████░░░░░░░░░░░░░ 44 % · 12 of 27 migrations · 5 s left · 3/s",
    );
    const bytes = { step: "Backing up", done: 1_500_000, total: 2_000_000_000, unit: "bytes" };
    expect(terminalLine(bytes, 2, 100)).toBe(
      "Backing up ░░░░░░░░░░░░░░░░░░░░░░░░ 0 % · 1.5 of 2,000 MB · 44 min 25 s left · 0.8 MB/s",
    );
  });

  test("has a spinner and the time so far where the total is unknown", () => {
    expect(terminalLine({ step: "Reading the schema" }, 3661, 100)).toBe("⠋ Reading the schema · 1 h 1 min");
    expect(terminalLine({ step: "Importing", done: 12_000, unit: "rows" }, 3.1, 100)).toBe(
      "⠙ Importing · 12,000 rows · 3 s · 3,871/s",
    );
  });

  test("is never longer than the terminal is wide, and keeps the percentage as long as it fits", () => {
    for (let width = 1; width <= 120; width++)
      for (const progress of [migrations, { step: "Reading the schema", done: 5 }]) {
        const line = terminalLine(progress, 4, width);
        expect(line.length).toBeLessThanOrEqual(width);
        if (width >= 24 && progress === migrations) expect(line).toContain("44 %");
      }
  });

  test("has a spinner for a single unit, and no rate that rounds to 0", () => {
    const single = { step: "Rolling back", done: 0, total: 1, unit: "migrations" };
    expect(terminalLine(single, 5, 100)).toBe("⠋ Rolling back · 5 s");
    expect(terminalLine({ step: "Archiving", done: 1 }, 60, 100)).toBe("⠋ Archiving · 1 · 1 min 0 s");
  });

  test("shows no more than 100 % and no negative time if the total was an estimate", () => {
    const line = terminalLine({ step: "Backing up", done: 30, total: 20 }, 10, 100);
    expect(line).toContain(" 100 % ");
    expect(line).toContain(" 0 s left");
  });
});

test("the line of a log has the same facts without a bar", () => {
  expect(logLine(migrations, 4)).toBe("Applying migrations: 12 of 27 migrations (44 %), 5 s left, 3/s");
  expect(logLine({ step: "Reading the schema" }, 20)).toBe("Reading the schema: 20 s");
});

describe("while a command runs", () => {
  beforeEach(() => {
    process.env.TERM = "xterm";
    jest.useFakeTimers();
  });

  afterEach(() => {
    stopProgress();
    jest.useRealTimers();
  });

  test("a terminal shows nothing for a second, then the newest state, and is clean at the end", async () => {
    const terminal = fakeStream(true);
    await startProgress("Connecting", terminal.stream);
    await jest.advanceTimersByTimeAsync(999);
    expect(terminal.written()).toBe("");
    await jest.advanceTimersByTimeAsync(1);
    expect(terminal.screen()).toBe("⠋ Connecting · 1 s");
    showProgress(migrations);
    await jest.advanceTimersByTimeAsync(4_000);
    expect(terminal.screen()).toContain("44 % · 12 of 27 migrations · 5 s left · 3/s");
    stopProgress();
    expect(terminal.screen()).toBe("");
    const { length } = terminal.written();
    await jest.advanceTimersByTimeAsync(60_000);
    showProgress(migrations);
    expect(terminal.written()).toHaveLength(length);
  });

  test("other output stands above the progress of a terminal, on stdout and on stderr", async () => {
    const terminal = fakeStream(true);
    const spies = [process.stdout, process.stderr].map((stream) =>
      jest.spyOn(stream, "write").mockImplementation((text) => terminal.stream.write(text as string)),
    );
    try {
      await startProgress("Working", terminal.stream);
      note("before it shows");
      await jest.advanceTimersByTimeAsync(2_000);
      note("a warning");
      print("a result");
      await jest.advanceTimersByTimeAsync(100);
      const lines = terminal.screen().split("\n");
      expect(lines).toEqual(["before it shows", "a warning", "a result", "⠙ Working · 2 s"]);
      stopProgress();
      expect(terminal.screen()).toBe("before it shows\na warning\na result\n");
    } finally {
      for (const spy of spies) spy.mockRestore();
    }
  });

  test("a question is not overwritten while it waits for its answer", async () => {
    const terminal = fakeStream(true);
    await startProgress("Working", terminal.stream);
    await jest.advanceTimersByTimeAsync(1_000);
    {
      using _ = pauseProgress();
      terminal.stream.write("Continue? ");
      await jest.advanceTimersByTimeAsync(60_000);
      expect(terminal.screen()).toBe("Continue? ");
      terminal.stream.write("y\n");
    }
    expect(terminal.screen()).toBe("Continue? y\n⠋ Working · 1 min 1 s");
  });

  test("a terminal that becomes narrower gets a shorter line", async () => {
    const terminal = fakeStream(true);
    await startProgress("Working", terminal.stream);
    showProgress(migrations);
    await jest.advanceTimersByTimeAsync(2_000);
    terminal.resize(30);
    await jest.advanceTimersByTimeAsync(100);
    expect(terminal.screen()).toBe("Applying migrations 44 %");
  });

  test.each([
    ["a log file", false, "xterm"],
    ["a terminal that cannot redraw", true, "dumb"],
  ])("%s gets a plain line every ten seconds", async (_name, isTTY, term) => {
    process.env.TERM = term;
    const log = fakeStream(isTTY);
    await startProgress("Working", log.stream);
    await jest.advanceTimersByTimeAsync(9_999);
    expect(log.written()).toBe("");
    showProgress(migrations);
    await jest.advanceTimersByTimeAsync(10_001);
    expect(log.written().split("\n")).toEqual([
      "Applying migrations: 12 of 27 migrations (44 %), 0 s",
      "Applying migrations: 12 of 27 migrations (44 %), 13 s left, 1.2/s",
      "",
    ]);
  });
});

test("nothing is shown with PLINTH_PROGRESS=false", () => {
  expect(progressStyle(true, { PLINTH_PROGRESS: "false" })).toBe("none");
  expect(progressStyle(false, { PLINTH_PROGRESS: "false" })).toBe("none");
});

describe("the commands", () => {
  function actionsOf(command: Command): Command[] {
    const { _actionHandler: action } = command as unknown as { _actionHandler?: unknown };
    return [...(action ? [command] : []), ...command.commands.flatMap(actionsOf)];
  }

  const commands = buildProgram().commands.flatMap(actionsOf);

  test("are all listed with their first step, or as short", () => {
    expect(commands.length).toBeGreaterThan(50);
    expect(Object.keys(FIRST_STEPS)).toEqual(commands.map(pathOf).sort());
  });

  test("show no progress with --json", () => {
    const command = commands.find((each) => pathOf(each) === "migrate up")!;
    expect(firstStepOf(command)).toBe("Connecting to the database");
    command.setOptionValue("json", true);
    expect(firstStepOf(command)).toBeUndefined();
  });
});

const script = spawnSync("script", ["--version"], { encoding: "utf8" });
const isUtilLinux = script.stdout?.includes("util-linux") ?? false;

(isUtilLinux ? test : test.skip)(
  "Ctrl-C on a real terminal leaves no progress behind (skipped without script of util-linux)",
  async () => {
    const command = `'${process.execPath}' '${LAUNCHER}' migrate`;
    const child = spawn("script", ["-qec", command, "/dev/null"], {
      env: cleanEnv({
        TERM: "xterm",
        PLINTH_PROGRESS: "true",
        PLINTH_OWNER_URL: "postgres://nobody@127.0.0.1:1/nowhere",
        PLINTH_CONNECT_TIMEOUT_SECONDS: "600",
      }),
      stdio: ["pipe", "pipe", "inherit"],
    });
    let written = "";
    let isPressed = false;
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      written += text;
      // A slow machine shows the progress before the first attempt has failed.
      if (isPressed || !/The database is not ready [\s\S]*Connecting to the database · \d/.test(written))
        return;
      isPressed = true;
      child.stdin.write("\x03");
    });
    const [code] = await once(child, "close");
    expect(screenOf(written).split("\n")).toEqual([
      expect.stringMatching(/^The database is not ready /),
      "error: Stopped while waiting for the database.",
      "",
    ]);
    expect(code).toBe(130);
  },
);
