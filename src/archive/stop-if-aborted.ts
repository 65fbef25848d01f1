import { PlinthError } from "../support/errors.ts";

/** @throws PlinthError INTERRUPTED */
export function stopIfAborted({ signal }: { readonly signal: AbortSignal }): void {
  if (signal.aborted)
    throw new PlinthError("INTERRUPTED", "Stopped; the next run continues.", { exitCode: 130 });
}
