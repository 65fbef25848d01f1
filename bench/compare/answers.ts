import { deepEqual } from "node:assert/strict";
import type { Client } from "./client.ts";
import type { Operation } from "./operations.ts";
import type { RunningServer } from "./servers/start.ts";

/** The users as whom all servers are asked. */
const SAMPLE = [1, 2, 77, 499, 500, 1000];

async function ask(
  server: RunningServer,
  query: string,
  variables: unknown,
  token: string,
): Promise<unknown> {
  const answer = await fetch(`${server.url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = (await answer.json()) as { data: unknown; errors?: unknown };
  if (errors || !data) throw new Error(`${server.name}: ${JSON.stringify(errors)}`);
  return data;
}

/** Strings that name a time, as one form: the servers write microseconds and offsets differently. */
function comparable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(comparable);
  if (typeof value === "object" && value)
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, comparable(inner)]));
  if (typeof value === "string" && /^\d{4}-\d\d-\d\d[T ]\d\d:/.test(value))
    return new Date(value.replace(" ", "T").replace(/[+-]\d\d$/, "$&:00")).getTime();
  return value;
}

/** @throws AssertionError when two servers answer an operation differently; those that create something are skipped. */
export async function assertSameAnswers(
  servers: readonly RunningServer[],
  operation: Operation,
  client: Client,
): Promise<void> {
  if (operation.varies) return;
  for (const user of SAMPLE) {
    const variables = operation.variables(user);
    const answers = [];
    for (const server of servers)
      if (operation.documents[server.dialect])
        answers.push(
          comparable(await ask(server, operation.documents[server.dialect]!, variables, client.token(user))),
        );
    for (const answer of answers.slice(1)) deepEqual(answer, answers[0]);
  }
}
