import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import {
  buildSchema,
  type GraphQLField,
  type GraphQLInputObjectType,
  type GraphQLObjectType,
  getNamedType,
  isInputObjectType,
  isObjectType,
  isRequiredInputField,
} from "graphql";
import { TEXTS } from "../../plugins/descriptions/texts.ts";
import { printGraphqlSchema } from "../../src/schema-dump/graphql-schema.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let sdl: string;

beforeAll(async () => {
  db = await createTestDatabase();
  sdl = await printGraphqlSchema({ authenticatorUrl: db.url("authenticator"), rolePrefix: db.rolePrefix });
});
afterAll(() => db.drop());

/** The fields of a type, in the order of the text. */
const fieldsOf = (type: string): string[] => {
  const body = new RegExp(`^(?:type|input) ${type}\\b[^{]*\\{\\n(.*?)^\\}`, "ms").exec(sdl)?.[1] ?? "";
  return [...body.matchAll(/^ {2}(\w+)[(:]/gm)].map(([, name]) => name!);
};

test("prints the same text each time", async () => {
  expect(
    await printGraphqlSchema({ authenticatorUrl: db.url("authenticator"), rolePrefix: db.rolePrefix }),
  ).toBe(sdl);
});

describe("names", () => {
  test("follow the conventions of GraphQL", () => {
    expect(fieldsOf("Query")).toEqual(
      expect.arrayContaining([
        "currentUser",
        "user",
        "users",
        "chat",
        "chats",
        "message",
        "models",
        "prompts",
        "node",
      ]),
    );
    expect(fieldsOf("Mutation")).toEqual(
      expect.arrayContaining([
        "register",
        "login",
        "refresh",
        "changePassword",
        "logout",
        "logoutEverywhere",
        "endSession",
        "createChat",
        "updateChat",
        "deleteChat",
        "createMessage",
      ]),
    );
    expect(fieldsOf("Chat")).toEqual(expect.arrayContaining(["id", "nodeId", "title", "messages", "user"]));
    expect(fieldsOf("Message")).toEqual(
      expect.arrayContaining(["id", "chat", "model", "toolCalls", "tokensUsed"]),
    );
    expect(sdl).toMatch(/^ {2}user\(\s+"""[^"]+"""\s+id: UUID!\s+\): User$/m);
  });

  test("contain no schema, and keys that exist for foreign keys create no fields", () => {
    const names = [...sdl.matchAll(/^(?:type|input|enum) (\w+)|^ {2}(\w+)[(:]/gm)].map(
      ([, type, field]) => type ?? field!,
    );
    expect(
      // accessExists filters by a content item's access.
      names.filter((name) =>
        /^(identity|access|billing|llm|rooms)[A-Z]\w*((?<!Exist)s|Connection)$/i.test(name),
      ),
    ).toEqual([]);
    expect(names.filter((name) => /ByIdAndUserId/.test(name))).toEqual([]);
  });
});

describe("the schema", () => {
  test.each([
    "password_hash",
    "passwordHash",
    "tokenHash",
    "refreshTokens",
    "tokenBlacklist",
    "successorSealed",
    "userPasswords",
  ])("does not contain %s", (name) => {
    expect(sdl.includes(name)).toBe(false);
  });

  test("contains no write that no role may perform", () => {
    expect(fieldsOf("MessageInput")).not.toContain("userId");
    expect(fieldsOf("ChatInput")).not.toContain("userId");
    expect(fieldsOf("UserPatch").sort()).toEqual(["profileData", "username"]);
    const mutations = fieldsOf("Mutation");
    for (const absent of [
      "createUser",
      "updateMessage",
      "deleteMessage",
      "createLoginAttempt",
      "createSecurityAuditLog",
      "createUserSession",
    ])
      expect(mutations).not.toContain(absent);
  });
});

test("accepts a node id only in `node`", () => {
  const { Query, Mutation } = buildSchema(sdl).getTypeMap() as Record<string, GraphQLObjectType>;
  const fields = [Query!, Mutation!].flatMap((type) => Object.values(type.getFields()));
  const argumentsOf = ({ args }: (typeof fields)[number]) =>
    args.flatMap((arg) => {
      const type = getNamedType(arg.type);
      return isInputObjectType(type) ? Object.keys(type.getFields()) : [arg.name];
    });
  expect(fields.filter((field) => argumentsOf(field).includes("nodeId")).map(({ name }) => name)).toEqual([
    "node",
  ]);
});

test("requires only arguments without a default", () => {
  const { PostRoomMessageInput, SetAllowedNetworksInput } = buildSchema(sdl).getTypeMap() as Record<
    string,
    GraphQLInputObjectType
  >;
  const requiredOf = (type: GraphQLInputObjectType) =>
    Object.values(type.getFields())
      .filter(isRequiredInputField)
      .map(({ name }) => name);
  expect(requiredOf(PostRoomMessageInput!)).toEqual(["content", "roomId"]);
  expect(requiredOf(SetAllowedNetworksInput!)).toEqual([]);
});

test("returns lists as connections", () => {
  expect(sdl).not.toMatch(/^ {2}\w+List\(/m);
  expect(sdl).toMatch(/^ {2}\): ChatConnection$/m);
});

describe("descriptions", () => {
  /** Everything that can have a description, as `Type`, `Type.field` and `Type.field(argument)`, with its description. */
  const described = (): Map<string, string | undefined> => {
    const all = new Map<string, string | undefined>();
    for (const type of Object.values(buildSchema(sdl).getTypeMap())) {
      if (type.name.startsWith("__") || (!isObjectType(type) && !isInputObjectType(type))) continue;
      all.set(type.name, type.description ?? undefined);
      for (const field of Object.values(type.getFields())) {
        all.set(`${type.name}.${field.name}`, field.description ?? undefined);
        for (const arg of (field as Partial<GraphQLField<unknown, unknown>>).args ?? [])
          all.set(`${type.name}.${field.name}(${arg.name})`, arg.description ?? undefined);
      }
    }
    return all;
  };

  test("exist for all types, fields, arguments and inputs", () => {
    expect([...described()].filter(([, text]) => !text).map(([name]) => name)).toEqual([]);
  });

  test("name the codes that a GraphQL client receives", () => {
    expect(
      [...described()].filter(([, text]) => /\bPL\d{3}\b/.test(text ?? "")).map(([name]) => name),
    ).toEqual([]);
    expect(described().get("Mutation.endSession")).toMatch(/NOT_FOUND/);
  });

  test("from TEXTS are all used", () => {
    const shown = new Set(described().values());
    expect(Object.entries(TEXTS).filter(([, text]) => !shown.has(text))).toEqual([]);
  });

  test("of a lookup's arguments are those of the columns", () => {
    expect(described().get("Query.modelProviderByName(name)")).toBe(described().get("ModelProvider.name"));
  });
});
