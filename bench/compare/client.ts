import jwt from "jsonwebtoken";
import pg from "pg";
import { graphql } from "../support.ts";
import { OPERATIONS } from "./operations.ts";
import { randomUser, sessionId, userId } from "./seed.ts";
import { POOL_SIZE } from "./servers/names.ts";
import type { RunningServer } from "./servers/start.ts";

export interface Client {
  readonly connections: number;
  token(user: number): string;
  /** The header line of a signed-in user. */
  authorization(user: number): string;
  /** The header line of a visitor at an address of its own, always the same. */
  address(visitor: number): string;
  /** A refresh token of a session of its own. */
  signIn(server: RunningServer): Promise<string>;
  /** Connections of the application's own server. */
  readonly applicationPool: pg.Pool;
}

/** @param key the servers' key for access tokens, base64url */
export function createClient(connections: number, key: string, serviceUrl: string): Client {
  const tokens = new Map<number, string>();
  const applicationPool = new pg.Pool({
    connectionString: serviceUrl,
    max: POOL_SIZE,
    idleTimeoutMillis: 0,
  });
  applicationPool.on("error", () => {});
  function token(user: number): string {
    let known = tokens.get(user);
    if (!known) {
      known = jwt.sign({ sid: sessionId(user), tv: 0 }, Buffer.from(key, "base64url"), {
        algorithm: "HS256",
        header: { alg: "HS256", typ: "at+jwt", kid: "bench" },
        issuer: "plinth",
        audience: "plinth",
        subject: userId(user),
        jwtid: crypto.randomUUID(),
        notBefore: 0,
        expiresIn: "1d",
      });
      tokens.set(user, known);
    }
    return known;
  }
  return {
    connections,
    token,
    authorization: (user) => `Authorization: Bearer ${token(user)}\r\n`,
    address: (visitor) => `X-Forwarded-For: 10.0.${visitor >> 8}.${visitor % 256}\r\n`,
    applicationPool,
    async signIn(server) {
      const { documents, variables } = OPERATIONS.find(({ name }) => name === "sign-in")!;
      const data = await graphql(server.url, documents[server.dialect]!, variables(randomUser()));
      return (data.login as { refreshToken: string }).refreshToken;
    },
  };
}
