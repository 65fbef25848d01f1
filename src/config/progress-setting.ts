import { type Environment, flag } from "./environment.ts";

export function showsProgress(env: Environment): boolean {
  return flag(env, "PLINTH_PROGRESS", true);
}

/** How a command shows its progress. It is decided before the command loads its settings. */
export function progressStyle(isTerminal: boolean, env: Environment = process.env): "bar" | "lines" | "none" {
  if (!showsProgress(env)) return "none";
  // TERM=dumb: a terminal that cannot move its cursor.
  return isTerminal && env.TERM !== "dumb" ? "bar" : "lines";
}
