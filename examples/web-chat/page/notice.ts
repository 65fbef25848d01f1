import { PlinthClientError, type Readable } from "plinth/client";

const listeners = new Set<(text: string) => void>();
let current = "";

/** The latest message for the user; empty for none. */
export const notice: Readable<string> = {
  get current() {
    return current;
  },
  subscribe(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
};

export function notify(text: string): void {
  current = text;
  for (const listener of listeners) listener(text);
}

/** Shows an error, except those that the page shows already: the end of the session and what it has aborted itself. */
export function report(error: unknown): void {
  if (error instanceof DOMException && error.name === "AbortError") return;
  if (!(error instanceof PlinthClientError)) console.error(error);
  else if (error.code === "UNAUTHENTICATED") return;
  notify(messageOf(error));
}

function messageOf(error: unknown): string {
  if (!(error instanceof PlinthClientError)) return "Something went wrong.";
  if (error.code === "QUOTA_EXCEEDED") return "You have too few tokens left for this.";
  if (error.code === "RATE_LIMITED")
    return `Too many attempts. Try again in ${error.retryAfter ?? 60} seconds.`;
  return error.message;
}
