import { jest } from "@jest/globals";
import pg from "pg";
import type { GraphQLSchema } from "postgraphile/graphql";
import type { Actor } from "../access-seed.ts";
import type { Api } from "../api.ts";
import { isAside, servesRequests } from "../work-of.ts";
import type { Input } from "./arguments.ts";
import { WOULD_CHANGE } from "./dry-run.ts";

export interface Outcome {
  /**
   * denied: an error with a code. allowed: it would have changed something. silent: it succeeded and would have changed nothing.
   * broken: an unforeseen error.
   */
  readonly kind: "denied" | "allowed" | "silent" | "broken";
  /** The body as sent; for `allowed`, the first change; for `broken`, the logged error. */
  readonly text: string;
  readonly status: number;
  readonly data: unknown;
  readonly code: string | undefined;
  /** GraphQL name of the argument at fault. */
  readonly field: string | undefined;
  /** Statements sent to the database, in order. */
  readonly statements: readonly string[];
}

export interface Caller {
  call(mutation: string, actor: string, input: Input): Promise<Outcome>;
  /** Number of calls so far. */
  readonly calls: number;
}

/** A server that has not heard of revocations for a moment asks the database about the token, whatever the call is. */
const TOKEN_CHECK = /private\.is_token_live\(/;

/** Calls mutations of a server whose database is dry, see `makeDry`. Records the statements of its requests. */
export function makeCaller(api: Api, schema: GraphQLSchema, actors: ReadonlyMap<string, Actor>): Caller {
  let statements: string[] = [];
  const query = pg.Client.prototype.query as (...args: unknown[]) => unknown;
  jest.spyOn(pg.Client.prototype, "query").mockImplementation(function (this: pg.Client, ...args: unknown[]) {
    const [config] = args as [{ text?: string } | string];
    if (servesRequests(this)) statements.push(typeof config === "string" ? config : String(config.text));
    return query.apply(this, args);
  } as never);
  let calls = 0;

  return {
    get calls() {
      return calls;
    },
    async call(mutation, actor, input) {
      calls += 1;
      const field = schema.getMutationType()!.getFields()[mutation]!;
      const type = field.args[0]?.type;
      const document = type
        ? `mutation ($input: ${type}) { done: ${mutation}(input: $input) { __typename } }`
        : `mutation { done: ${mutation} { __typename } }`;
      statements = [];
      const options = { token: actors.get(actor)!.token, ...(type && { variables: { input } }) };
      const { data, errors, text, status } = await api.ask(document, options);
      const outcome = {
        text,
        status,
        data,
        code: errors?.[0]?.extensions.code,
        field: errors?.[0]?.extensions.field,
        statements: statements.filter((statement) => !isAside(statement) && !TOKEN_CHECK.test(statement)),
      };
      if (!errors) return { ...outcome, kind: "silent" };
      if (outcome.code !== "INTERNAL") return { ...outcome, kind: "denied" };
      const { errorId } = errors[0]!.extensions;
      const line = api.logLines.findLast((logged) => logged.errorId === errorId) as unknown as LoggedError;
      const isAllowed = line.err.code === WOULD_CHANGE;
      return { ...outcome, kind: isAllowed ? "allowed" : "broken", text: line.err.message };
    },
  };
}

interface LoggedError {
  readonly err: { readonly code: string; readonly message: string };
}
