import { readFileSync } from "node:fs";
import { type ConnectionOptions, getCACertificates } from "node:tls";
import type { DatabaseUrl } from "./database-url.ts";

/** False for a connection without TLS. */
export type Tls = false | ConnectionOptions;

/**
 * The ways to connect that a URL's sslmode allows, in the order in which they are tried. They mean what they mean for libpq, so that
 * psql, pg_dump and Plinth do the same with the same URL. Without sslrootcert, `verify-full` trusts the authorities that Node
 * trusts (libpq reads a file in the home folder), and `verify-ca` is `verify-full`, because a public authority certifies anyone.
 * @returns undefined if the URL does not say
 */
export function tlsWays({
  sslMode,
  sslFiles,
}: Pick<DatabaseUrl, "sslMode" | "sslFiles">): readonly Tls[] | undefined {
  if (sslMode === undefined) return undefined;
  if (sslMode === "disable") return [false];
  const { root, certificate, key } = sslFiles;
  const own: ConnectionOptions = {
    ...(certificate && { cert: readFileSync(certificate, "utf8") }),
    ...(key && { key: readFileSync(key, "utf8") }),
    ...(root && { ca: root === "system" ? getCACertificates("system") : readFileSync(root, "utf8") }),
  };
  const unchecked = { ...own, rejectUnauthorized: false };
  const ofAuthority = { ...own, checkServerIdentity: () => undefined };
  switch (sslMode) {
    case "allow":
      return [false, unchecked];
    case "prefer":
      return [unchecked, false];
    case "no-verify":
      return [unchecked];
    case "require":
      return [root ? ofAuthority : unchecked];
    case "verify-ca":
      return [root ? ofAuthority : own];
    case "verify-full":
      return [own];
  }
}
