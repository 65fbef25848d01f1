import type pg from "pg";
import { percentile } from "../support.ts";
import type { Client } from "./client.ts";
import { type HttpConnection, openHttpConnection } from "./http-connection.ts";
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

/** The end of a load: after this many seconds or requests. */
type Until = { readonly seconds: number } | { readonly requests: number };

interface Caller {
  readonly number: number;
  readonly connection: HttpConnection;
  refreshToken?: string;
}

const GREETING = JSON.stringify({ query: "{ __typename }" });

export interface OpenLoad {
  /** Sends the operation over all connections, each time as a random user. */
  run(until: Until): Promise<Load>;
  close(): void;
}

/**
 * Connects the clients, greets the server over each connection and signs in, if needed, so that only the operation is measured. Node
 * accepts one connection in each turn of its event loop: without the greeting, some first requests would wait for many turns,
 * and their wait would be the 99th percentile.
 */
export async function openLoad(
  server: RunningServer,
  operation: Operation,
  client: Client,
): Promise<OpenLoad> {
  const query = operation.documents[server.dialect];
  if (!query) throw new Error(`${server.name} has no ${operation.name}.`);
  const callers = await Promise.all(
    Array.from({ length: client.connections }, async (_, number) => {
      const connection = await openHttpConnection(server.url);
      await connection.ask(client.address(number), GREETING);
      return { number, connection, refreshToken: operation.chained && (await client.signIn(server)) };
    }),
  );
  const settle = operation.settle?.[server.dialect];

  async function send(caller: Caller): Promise<void> {
    const user = randomUser();
    // A refresh token stays with its client.
    const visitor = operation.chained ? caller.number : user;
    const variables = operation.chained ? { token: caller.refreshToken } : operation.variables(user);
    const { status, body } = await caller.connection.ask(
      operation.isVisitor ? client.address(visitor) : client.authorization(user),
      JSON.stringify({ query, variables }),
    );
    if (status !== 200 || body.includes('"errors"'))
      throw new Error(`${server.name}, ${operation.name}: ${status} ${body.toString().slice(0, 500)}`);
    if (operation.chained) caller.refreshToken = JSON.parse(body.toString()).data.refresh.refreshToken;
    if (settle) await settleHold(client.applicationPool, settle, body);
  }

  return {
    async run(until) {
      const latencies: number[] = [];
      const started = performance.now();
      let sent = 0;
      let inTime = 0;
      const mayContinue = () =>
        "seconds" in until ? performance.now() - started < until.seconds * 1_000 : sent < until.requests;
      await Promise.all(
        callers.map(async (caller) => {
          while (mayContinue()) {
            sent++;
            const begun = performance.now();
            await send(caller);
            latencies.push(performance.now() - begun);
            if (mayContinue()) inTime++;
          }
        }),
      );
      // The last answers arrive after the end, when fewer clients ask; they count only as latencies.
      const seconds = "seconds" in until ? until.seconds : (performance.now() - started) / 1_000;
      return {
        rate: ("seconds" in until ? inTime : latencies.length) / seconds,
        p50: percentile(latencies, 0.5),
        p99: percentile(latencies, 0.99),
        requests: latencies.length,
      };
    },
    close() {
      for (const { connection } of callers) connection.close();
    },
  };
}

async function settleHold(pool: pg.Pool, text: string, body: Buffer): Promise<void> {
  const { id } = JSON.parse(body.toString()).data.reserveTokens.result;
  await pool.query({ name: text, text, values: [id] });
}
