export const EMBEDDED_DATABASE = "plinth";

/**
 * Connection URL of the embedded server, which listens on this machine only and has no certificate. The explicit sslmode
 * overrides a PGSSLMODE in the environment that is meant for another server.
 */
export function embeddedUrl(
  port: number,
  user: string,
  password: string,
  database: string = EMBEDDED_DATABASE,
): string {
  return `postgres://${user}:${encodeURIComponent(password)}@127.0.0.1:${port}/${encodeURIComponent(database)}?sslmode=disable`;
}
