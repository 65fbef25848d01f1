import { beforeEach, expect, test } from "@jest/globals";
import { rememberResults } from "../../plugins/behavior-memory.ts";

/** Counts the questions that reach the original methods of PostGraphile. */
let asked: string[];
let Behavior: new () => Methods;
type Methods = Parameters<typeof rememberResults>[0];

beforeEach(() => {
  asked = [];
  Behavior = class implements Methods {
    validateBehavior(_entityType: string | null, _source: string, text: string) {
      asked.push(`validate ${text}`);
      if (text === "create") throw new Error("invalid");
    }
    getPreferencesAppliedBehaviors(entityType: string, ...parts: { behaviorString: string }[]) {
      const behaviorString = parts.map((part) => part.behaviorString).join(" ");
      asked.push(`apply ${entityType} ${behaviorString}`);
      return { behaviorString };
    }
    getBehaviorForEntity(entityType: string, entity: unknown) {
      if (Array.isArray(entity)) asked.push(`behavior of ${entityType} ${entity}`);
      return { behaviorString: String(entity) };
    }
    entityMatches(entityType: string, entity: unknown, filter: string) {
      asked.push(`is ${filter} registered for ${entityType}`);
      return this.stringMatches(String(entity), filter);
    }
    stringMatches(text: string, filter: string) {
      asked.push(`match ${text} ${filter}`);
      return text.includes(`-${filter}`) ? false : text.includes(filter) || undefined;
    }
  };
  rememberResults(Behavior.prototype);
});

test("matches each string once per type and filter, and checks the filter's registration once", () => {
  const behavior = new Behavior();
  for (let i = 0; i < 3; i++) {
    expect(behavior.entityMatches("codec", "list -insert", "insert")).toBe(false);
    expect(behavior.entityMatches("codec", "list", "insert")).toBeUndefined();
    expect(behavior.entityMatches("codec", "insert", "insert")).toBe(true);
    expect(behavior.entityMatches("codec", "list", "list")).toBe(true);
    expect(behavior.entityMatches("resource", "insert", "insert")).toBe(true);
  }
  expect(asked).toEqual([
    "is insert registered for codec",
    "match list -insert insert",
    "match list insert",
    "match insert insert",
    "is list registered for codec",
    "match list list",
    "is insert registered for resource",
    "match insert insert",
  ]);
});

test("finds the behavior of each list of elements once, whichever array holds them", () => {
  const behavior = new Behavior();
  const [users, chats] = [{ toString: () => "users" }, { toString: () => "chats" }];
  for (let i = 0; i < 2; i++)
    for (const list of [[users, "id"], [users, "name"], [chats, "id"], [users]])
      expect(behavior.getBehaviorForEntity("attribute", list).behaviorString).toBe(String(list));
  behavior.getBehaviorForEntity("codec", [users]);
  expect(asked).toEqual([
    "behavior of attribute users,id",
    "behavior of attribute users,name",
    "behavior of attribute chats,id",
    "behavior of attribute users",
    "behavior of codec users",
  ]);
});

test("applies the preferences once per type and strings", () => {
  const behavior = new Behavior();
  const [inferred, override] = [{ behaviorString: "list" }, { behaviorString: "-list" }];
  for (let i = 0; i < 2; i++) {
    expect(behavior.getPreferencesAppliedBehaviors("codec", inferred, override).behaviorString).toBe(
      "list -list",
    );
    expect(behavior.getPreferencesAppliedBehaviors("codec", override, inferred).behaviorString).toBe(
      "-list list",
    );
    behavior.getPreferencesAppliedBehaviors("resource", inferred, override);
  }
  expect(asked).toEqual(["apply codec list -list", "apply codec -list list", "apply resource list -list"]);
});

test("validates a valid string once, and rejects an invalid one each time", () => {
  const behavior = new Behavior();
  behavior.validateBehavior("codec", "a plugin", "list");
  behavior.validateBehavior("resource", "another", "list");
  expect(() => behavior.validateBehavior("codec", "a plugin", "create")).toThrow("invalid");
  expect(() => behavior.validateBehavior("codec", "a plugin", "create")).toThrow("invalid");
  expect(asked).toEqual(["validate list", "validate create", "validate create"]);
});

test("shares nothing between two schemas", () => {
  new Behavior().entityMatches("codec", "list", "list");
  new Behavior().entityMatches("codec", "list", "list");
  expect(asked.filter((question) => question.startsWith("is"))).toHaveLength(2);
});
