import { expect, test } from "@jest/globals";
import { describeHolder, endHolders } from "../../src/database/locks/lock-wait.ts";

const prepared = (preparedAs: string) => ({
  pid: null,
  preparedAs,
  role: null,
  application: null,
  state: null,
  since: null,
  mode: null,
  isWaiting: false,
});

test.each([
  ["order-17", "'order-17'"],
  ["'; drop role plinth_owner; --", "'''; drop role plinth_owner; --'"],
  ["\\'; \\! id", "E'\\\\''; \\\\! id'"],
  ["\u001b[2Jé\n\u202e", "E'\\U0000001b[2Jé\\U0000000a\\U0000202e'"],
])("the name of a prepared transaction is one literal without control characters: %j", (name, literal) => {
  expect(endHolders([prepared(name)])).toBe(`rollback prepared ${literal};`);
  expect(describeHolder(prepared(name))).toContain(`the prepared transaction ${literal} `);
});
