import autocannon from "autocannon";
import type { Operation } from "./operations.ts";
import { randomUser } from "./seed.ts";
import type { RunningServer } from "./servers/start.ts";

export interface Load {
  /** Requests a second. */
  readonly rate: number;
  /** Latencies in milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly requests: number;
}

export interface Client {
  token(user: number): string;
  /** A refresh token of a session of its own. */
  signIn(server: RunningServer): Promise<string>;
  readonly connections: number;
}

const address = () =>
  `10.${Math.floor((Math.random() * 65_536) / 256)}.${randomUser() % 256}.${randomUser() % 256}`;

/** Sends an operation over all connections for some seconds, each time as a random user. */
export async function load(
  server: RunningServer,
  operation: Operation,
  client: Client,
  seconds: number,
): Promise<Load> {
  const query = operation.documents[server.name];
  if (!query) throw new Error(`${server.name} has no ${operation.name}.`);
  /** Refresh tokens that no request is using. */
  const chain = operation.chained
    ? await Promise.all(Array.from({ length: client.connections }, () => client.signIn(server)))
    : [];
  let failed: string | undefined;
  let requests = 0;
  const result = await autocannon({
    url: `${server.url}/graphql`,
    connections: client.connections,
    duration: seconds,
    requests: [
      {
        setupRequest(request: autocannon.Request) {
          const user = randomUser();
          const variables = operation.chained ? { token: chain.pop() } : operation.variables(user);
          return {
            ...request,
            method: "POST" as const,
            headers: {
              "content-type": "application/json",
              ...(operation.isVisitor
                ? { "x-forwarded-for": address() }
                : { authorization: `Bearer ${client.token(user)}` }),
            },
            body: JSON.stringify({ query, variables }),
          };
        },
        onResponse(status: number, body: string) {
          requests++;
          if (status !== 200 || body.includes('"errors"')) failed ??= `${status} ${body}`;
          else if (operation.chained) chain.push(JSON.parse(body).data.refresh.refreshToken);
        },
      },
    ],
  });
  if (failed) throw new Error(`${server.name}, ${operation.name}: ${failed.slice(0, 500)}`);
  return { rate: requests / result.duration, p50: result.latency.p50, p99: result.latency.p99, requests };
}
