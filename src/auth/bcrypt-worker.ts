import { parentPort } from "node:worker_threads";
import { compareSync } from "bcryptjs";

/** One message in (a job), one message out (whether the password matches), one at a time: see bcrypt-pool.ts. */
export interface BcryptJob {
  readonly password: string;
  readonly hash: string;
}

parentPort?.on("message", ({ password, hash }: BcryptJob) => {
  parentPort?.postMessage(compareSync(password, hash));
});
