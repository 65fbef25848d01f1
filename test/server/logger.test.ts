import { describe, expect, test } from "@jest/globals";
import pg from "pg";
import { describeError } from "../../src/request/logger.ts";

describe("an error in the log", () => {
  test("keeps useful parts and drops the data that PostgreSQL quotes", () => {
    const error = Object.assign(new pg.DatabaseError("new row violates a constraint", 100, "error"), {
      code: "23514",
      table: "users",
      constraint: "users_email_check",
      detail: "Failing row contains (1, secret@example.org).",
      where: "PL/pgSQL function register_user('secret@example.org')",
      internalQuery: "insert into users values ('secret@example.org')",
    });
    const described = describeError(error);
    expect(described).toMatchObject({ code: "23514", table: "users", constraint: "users_email_check" });
    expect(JSON.stringify(described)).not.toContain("secret@example.org");
  });

  test("shows its causes", () => {
    const error = new Error("outer", { cause: new Error("inner") });
    expect(describeError(error)).toMatchObject({ message: "outer", cause: { message: "inner" } });
  });

  test("can be any value", () => {
    expect(describeError("a text")).toEqual({ message: "a text" });
  });
});
