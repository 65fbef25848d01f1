import { createClient, PlinthClientError } from "plinth/client";
import { storageOfThisTab } from "./storage.ts";

/** The page is at /console of the API, below whatever path the API has. The refresh token is kept until the tab is closed. */
export const client = createClient({ url: ".", storage: await storageOfThisTab() });

/** Says to a person why something failed. */
export function messageOf(error: unknown): string {
  // Errors of the browser's passkeys. The first also means that the time for it is over.
  if (error instanceof DOMException && error.name === "NotAllowedError")
    return "No passkey was used. Try again, or sign in another way.";
  if (error instanceof DOMException && error.name === "SecurityError")
    return "Passkeys do not work at this address. Sign in another way.";
  if (!(error instanceof PlinthClientError))
    return "The console failed. Reload the page; if it happens again, report it.";
  if (error.code === "RATE_LIMITED")
    return `Too many attempts. Try again in ${error.retryAfter ?? 60} seconds.`;
  if (error.code === "UNAVAILABLE") return "The server is not available. Try again in a minute.";
  if (error.code === "NETWORK") return "The server cannot be reached. Check your connection, and try again.";
  if (error.code === "TIMEOUT") return "The numbers took too long to count. Choose a shorter period.";
  return error.message;
}
