import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import type { BcryptJob } from "./bcrypt-worker.ts";

/** The worker's file beside this one, as TypeScript in a checkout and as JavaScript in the built package. */
const WORKER = new URL(`./bcrypt-worker${extname(fileURLToPath(import.meta.url))}`, import.meta.url);

export interface BcryptPool {
  /** Runs as many jobs at once as callers start; the caller sets the limit. */
  verify(password: string, hash: string): Promise<boolean>;
  /** @param setting cost and salt, `$2b$12$` and 22 characters */
  hash(password: string, setting: string): Promise<string>;
  /** Ends the threads; call it when no job runs. */
  close(): Promise<void>;
}

/**
 * Creates and verifies bcrypt hashes in separate threads. bcryptjs computes in JavaScript, hundreds of milliseconds per hash;
 * on the main thread every request would wait for it. Threads start on demand, are reused, and keep the process alive only
 * while they work.
 */
export function createBcryptPool(): BcryptPool {
  const workers = new Set<Worker>();
  const idle = new Set<Worker>();

  function start(): Worker {
    // The process's own flags are not passed on, because some, such as --input-type, prevent a thread from starting.
    const worker = new Worker(WORKER, { env: {}, execArgv: [], name: "bcrypt" });
    workers.add(worker);
    worker.once("exit", () => {
      workers.delete(worker);
      idle.delete(worker);
    });
    return worker;
  }

  async function compute<T>(job: BcryptJob): Promise<T> {
    const [worker = start()] = idle;
    idle.delete(worker);
    try {
      worker.ref();
      const answer = await ask<T>(worker, job);
      worker.unref();
      idle.add(worker);
      return answer;
    } catch (error) {
      // A failed thread is not reused.
      await worker.terminate();
      throw error;
    }
  }

  return {
    verify: (password, hash) => compute<boolean>({ password, hash }),
    hash: (password, setting) => compute<string>({ password, setting }),

    async close() {
      await Promise.all([...workers].map((worker) => worker.terminate()));
    },
  };
}

function ask<T>(worker: Worker, job: BcryptJob): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const exited = () => reject(new Error("The bcrypt thread ended before it answered."));
  worker.once("message", resolve).once("error", reject).once("exit", exited);
  worker.postMessage(job);
  return promise.finally(() => worker.off("message", resolve).off("error", reject).off("exit", exited));
}
