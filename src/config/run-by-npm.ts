import type { Environment } from "./environment.ts";

/** Whether npm or npx runs this process (they set this variable for their children). */
export function isRunByNpm(env: Environment = process.env): boolean {
  return env.npm_lifecycle_event !== undefined;
}
