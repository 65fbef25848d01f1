import type { IncomingMessage } from "node:http";

/** A request that an application passes on; Express and Fastify's adapter say where they mounted Plinth. */
export type MountedRequest = IncomingMessage & { baseUrl?: string };

/** A request's place within Plinth. */
export interface Location {
  /** Path at which Plinth is mounted; empty for the root. */
  readonly base: string;
  /** The URL within Plinth, with its query string. */
  readonly url: string;
}

/**
 * Returns where a request is within Plinth; undefined outside the prefix.
 * @param prefix the configured one; without it, Plinth is where the framework mounted it
 */
export function locate({ baseUrl = "", url = "/" }: MountedRequest, prefix: string): Location | undefined {
  if (prefix === "") return { base: baseUrl, url };
  const full = baseUrl + url;
  if (!full.startsWith(prefix)) return undefined;
  const rest = full.slice(prefix.length);
  if (rest.startsWith("/")) return { base: prefix, url: rest };
  return rest === "" || rest.startsWith("?") ? { base: prefix, url: `/${rest}` } : undefined;
}

/** The path of a URL without its query string. */
export function pathOf(url: string): string {
  const end = url.indexOf("?");
  return end < 0 ? url : url.slice(0, end);
}
