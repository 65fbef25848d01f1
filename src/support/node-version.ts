import { PlinthError } from "./errors.ts";

const NEEDED_MAJOR = 24;

/**
 * Says in a sentence what an older Node would say with a ReferenceError somewhere inside. The command line has its own
 * check, in plain JavaScript, since it can start a newer Node in its place.
 * @throws PlinthError NODE_TOO_OLD
 */
export function assertNodeVersion(): void {
  const version = process.versions.node;
  if (Number(version.split(".")[0]) >= NEEDED_MAJOR) return;
  throw new PlinthError(
    "NODE_TOO_OLD",
    `Plinth needs Node ${NEEDED_MAJOR} or newer, but this is Node ${version}.`,
    {
      hint: "Install it from https://nodejs.org and run your program with it.",
    },
  );
}
