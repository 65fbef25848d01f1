import { PlinthError } from "./errors.ts";

const NEEDED_MAJOR = 24;

/**
 * Reports an old Node with a clear message instead of a ReferenceError somewhere inside. The command line has its own check in
 * plain JavaScript, because it can start a newer Node instead.
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
