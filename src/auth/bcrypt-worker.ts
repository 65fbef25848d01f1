import { parentPort } from "node:worker_threads";
import { compareSync, hashSync } from "bcryptjs";

/** Each message in is a job, each message out its result, one at a time: see bcrypt-pool.ts. */
export type BcryptJob =
  /** Whether the password matches. */
  | { readonly password: string; readonly hash: string }
  /** The hash, by cost and salt (`$2b$12$…`). */
  | { readonly password: string; readonly setting: string };

parentPort?.on("message", (job: BcryptJob) => {
  parentPort?.postMessage(
    "hash" in job ? compareSync(job.password, job.hash) : hashSync(job.password, job.setting),
  );
});
