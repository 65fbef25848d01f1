import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** Tries, a tenth of a second apart, after which a page will not change any more. They are no bound on its speed. */
const PATIENT_TRIES = 600;

/** Waits until a condition holds, which may throw before; returns whether it does. */
export async function becomesTrue(
  condition: () => Promise<boolean>,
  tries = PATIENT_TRIES,
): Promise<boolean> {
  for (let tried = 0; tried < tries; tried++) {
    if (await condition().catch(() => false)) return true;
    await sleep(100);
  }
  return false;
}

/** A DevTools connection to one page. */
export async function openDevTools(url: string) {
  const socket = new WebSocket(url);
  await new Promise((resolve, reject) => {
    socket.addEventListener("open", resolve);
    socket.addEventListener("error", reject);
  });
  const waiting = new Map<number, (message: { result?: unknown; error?: { message: string } }) => void>();
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(String(data));
    waiting.get(message.id)?.(message);
    waiting.delete(message.id);
  });
  let lastId = 0;
  async function send<T = unknown>(method: string, params: object = {}): Promise<T> {
    const id = ++lastId;
    const answer = new Promise<{ result?: unknown; error?: { message: string } }>((resolve) =>
      waiting.set(id, resolve),
    );
    socket.send(JSON.stringify({ id, method, params }));
    const { result, error } = await answer;
    if (error) throw new Error(`${method}: ${error.message}`);
    return result as T;
  }
  /** Calls a function, given as text, in the page; its result must be JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: what is asked for is what it gets.
  async function run(script: string, ...args: unknown[]): Promise<any> {
    const expression = `(${script})(...${JSON.stringify(args)})`;
    const { result, exceptionDetails } = await send<{
      result: { value: unknown };
      exceptionDetails?: { exception?: { description?: string } };
    }>("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true, userGesture: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? "The page failed.");
    return result.value;
  }
  return { send, run, close: () => socket.close() };
}

export async function startChromium(profile: string): Promise<{ pageUrl: string; stop(): void }> {
  const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"];
  const browser = spawn(CHROMIUM, [...flags, `--user-data-dir=${profile}`, "about:blank"], {
    stdio: "ignore",
  });
  for (let tries = 0; tries < PATIENT_TRIES; tries++) {
    await sleep(100);
    const text = await readFile(join(profile, "DevToolsActivePort"), "utf8").catch(() => "");
    const [port] = text.split("\n");
    if (!port) continue;
    const pages = await fetch(`http://127.0.0.1:${port}/json`).then((answer) => answer.json());
    const page = (pages as { type: string; webSocketDebuggerUrl: string }[]).find(
      ({ type }) => type === "page",
    );
    if (page) return { pageUrl: page.webSocketDebuggerUrl, stop: () => browser.kill() };
  }
  browser.kill();
  throw new Error(`${CHROMIUM} did not start.`);
}

/** Prints the outcome of each check; a failed one makes the process exit with 1. */
export function check(what: string, holds: boolean): void {
  console.log(`${holds ? "ok  " : "FAIL"} ${what}`);
  if (!holds) process.exitCode = 1;
}
