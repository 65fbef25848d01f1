/** The servers in the order of the report. */
export const SERVERS = ["stock", "mercurius", "plinth-general", "plinth"] as const;
export type ServerName = (typeof SERVERS)[number];

/** Servers of the same dialect understand the same documents. */
export type Dialect = Exclude<ServerName, "plinth-general">;

export function dialectOf(name: ServerName): Dialect {
  return name === "plinth-general" ? "plinth" : name;
}

/** Connections of each server to the database, Plinth's default; pgbench has as many clients. */
export const POOL_SIZE = 20;
