export const EMBEDDED_DATABASE = "plinth";

/**
 * Connection URL of the embedded server. It listens on this machine only and has no certificate; saying so keeps
 * a PGSSLMODE in the environment, meant for another server, from breaking the connection.
 */
export function embeddedUrl(
  port: number,
  user: string,
  password: string,
  database: string = EMBEDDED_DATABASE,
): string {
  return `postgres://${user}:${encodeURIComponent(password)}@127.0.0.1:${port}/${encodeURIComponent(database)}?sslmode=disable`;
}
