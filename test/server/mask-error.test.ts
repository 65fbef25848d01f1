import { runInNewContext } from "node:vm";
import { describe, expect, test } from "@jest/globals";
import { pino } from "pino";
import { SafeError } from "postgraphile/grafast";
import { GraphQLError, parse } from "postgraphile/graphql";
import { makeMaskError } from "../../src/graphql/mask-error.ts";
import { ConstraintFields } from "../../src/request/constraint-fields.ts";
import { PlinthError } from "../../src/support/errors.ts";

const mask = makeMaskError({
  logger: pino({ level: "silent" }),
  constraints: new ConstraintFields(),
  anonymousRole: "nobody",
});
const [node] = parse("{ a }").definitions;
const thrown = (originalError: Error) =>
  new GraphQLError(originalError.message, { nodes: node, path: ["a"], originalError });

describe("a client", () => {
  test.each<[string, GraphQLError, string]>([
    ["a bug", thrown(new TypeError("cannot read the secret")), "INTERNAL"],
    // Such an error is created from anything that is caught around an execution.
    ["a message without a place", new GraphQLError("cannot read the secret"), "INTERNAL"],
    [
      "a missing value in a non-null field",
      new GraphQLError("secret", { nodes: node, path: ["a"] }),
      "INTERNAL",
    ],
    ["an operator's error", thrown(new PlinthError("INVALID_SETTING", "the secret setting")), "INTERNAL"],
    [
      "an unreachable database",
      thrown(Object.assign(new Error("secret host"), { code: "ECONNREFUSED" })),
      "UNAVAILABLE",
    ],
    [
      "a lost connection, reported by an error of another realm",
      thrown(runInNewContext("Object.assign(new Error('secret'), { code: 'ECONNRESET' })")),
      "UNAVAILABLE",
    ],
    ["a full pool", thrown(new Error("timeout exceeded when trying to connect to secret")), "UNAVAILABLE"],
    [
      "a value nested too deep",
      thrown(new RangeError("Maximum call stack size exceeded: secret")),
      "BAD_USER_INPUT",
    ],
  ])("learns only the code of %s", (_what, error, code) => {
    const masked = mask(error);
    expect(masked.extensions.code).toBe(code);
    expect(JSON.stringify(masked)).not.toContain("secret");
    expect(masked.path).toEqual(error.path);
  });

  test.each<[string, GraphQLError, object]>([
    [
      "an error meant for users",
      thrown(new PlinthError("BAD_USER_INPUT", "Too long.", { field: "password", hint: "Cut." })),
      { code: "BAD_USER_INPUT", field: "password", hint: "Cut." },
    ],
    ["a safe error", thrown(new SafeError("Too long.")), { code: "BAD_USER_INPUT" }],
    [
      "a safe error with a code",
      thrown(new SafeError("Too long.", { code: "NOT_FOUND" })),
      { code: "NOT_FOUND" },
    ],
    [
      "a coded GraphQL error",
      new GraphQLError("Too long.", { extensions: { code: "QUERY_TOO_COMPLEX" } }),
      { code: "QUERY_TOO_COMPLEX" },
    ],
    [
      "a variable of the wrong type",
      new GraphQLError("Too long.", { nodes: node }),
      { code: "BAD_USER_INPUT" },
    ],
  ])("learns everything about %s", (_what, error, extensions) => {
    const masked = mask(error);
    expect(masked.message).toBe("Too long.");
    expect(masked.extensions).toEqual(extensions);
  });

  test("gets the same error when it is masked again", () => {
    for (const error of [thrown(new TypeError("x")), thrown(new SafeError("x"))]) {
      const once = mask(error);
      expect(mask(once).toJSON()).toEqual(once.toJSON());
    }
  });
});
