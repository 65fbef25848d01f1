import { expect, test } from "@jest/globals";
import { bind } from "../src/support/bind.ts";

const OPERATIONS = {
  greet: ({ greeting }: { greeting: string }, name: string, mark = ".") => `${greeting}, ${name}${mark}`,
  count: async ({ greeting }: { greeting: string; language: string }) => greeting.length,
  fail: () => {
    throw new Error("No greeting.");
  },
};
const dependencies = { greeting: "Hello", language: "en" };

test("bound operations take the remaining arguments and return the result", async () => {
  const { greet, count } = bind(OPERATIONS, dependencies);
  expect(greet("Ada")).toBe("Hello, Ada.");
  expect(greet("Ada", "!")).toBe("Hello, Ada!");
  expect(await count()).toBe(5);
});

test("bound operations throw the operation's error", () => {
  expect(() => bind(OPERATIONS, dependencies).fail()).toThrow("No greeting.");
});

test("bind returns exactly the operations it was given", () => {
  expect(Object.keys(bind(OPERATIONS, dependencies))).toEqual(["greet", "count", "fail"]);
});

test("the compiler rejects missing dependencies and wrong arguments", () => {
  // @ts-expect-error: `count` needs a language.
  bind(OPERATIONS, { greeting: "Hello" });
  // @ts-expect-error: a name is text.
  expect(bind(OPERATIONS, dependencies).greet(1)).toBe("Hello, 1.");
});
