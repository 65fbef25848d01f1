import { describe, expect, test } from "@jest/globals";
import { documentHash } from "../../src/documents/document-hash.ts";
import { createFindDocument } from "../../src/http/find-document.ts";

const ADDED = "query Added { a }";
const OTHER = "query Other { a }";

function finder(allowed: "any" | "added") {
  const texts = new Map([ADDED, "{ \ufffd }"].map((text) => [documentHash(text), text]));
  return createFindDocument({ added: texts, allowed });
}
const apq = (hash: unknown, query?: unknown, version: unknown = 1) => ({
  ...(query === undefined ? {} : { query }),
  extensions: { persistedQuery: { version, sha256Hash: hash } },
});
const named = (text: string) => apq(documentHash(text));
const registered = (text: string) => apq(documentHash(text), text);

function outcome(find: ReturnType<typeof finder>, body: unknown): unknown {
  try {
    return (find(body) as { query?: unknown }).query;
  } catch (error) {
    const { status, code } = error as { status: number; code: string };
    return `${status} ${code}`;
  }
}

const NOT_FOUND = "200 PERSISTED_QUERY_NOT_FOUND";
const NOT_ALLOWED = "403 DOCUMENT_NOT_ALLOWED";
const BAD = "400 BAD_REQUEST";

test.each([null, 7, "text", [{ documentId: "x" }], { query: ADDED, variables: { a: 1 } }, { query: 7 }, {}])(
  "%j is returned as it is",
  (body) => {
    for (const allowed of ["any", "added"] as const) expect(finder(allowed)(body)).toBe(body);
  },
);

test("the other members of a body are kept, and the caller's object is not changed", () => {
  const body = { documentId: documentHash(ADDED), operationName: "Added", variables: { a: 1 } };
  const before = structuredClone(body);
  expect(finder("any")(body)).toEqual({ ...before, query: ADDED });
  expect(body).toEqual(before);
});

describe.each(["any", "added"] as const)("a server that executes %s documents", (allowed) => {
  test.each<[string, unknown]>([
    ["documentId", { documentId: documentHash(ADDED) }],
    ["documentId with the prefix sha256:", { documentId: `sha256:${documentHash(ADDED)}` }],
    ["documentId and an empty query", { documentId: documentHash(ADDED), query: "" }],
    ["sha256Hash", named(ADDED)],
    ["sha256Hash and its text", registered(ADDED)],
    ["sha256Hash and an empty query", apq(documentHash(ADDED), "")],
    ["the text", { query: ADDED }],
    ["the text and extensions of null", { query: ADDED, documentId: null, extensions: null }],
    ["the text and a persistedQuery of null", { query: ADDED, extensions: { persistedQuery: null } }],
    ["the text and other extensions", { query: ADDED, extensions: { trace: true } }],
  ])("finds an added document by %s", (_how, body) => {
    expect(outcome(finder(allowed), body)).toBe(ADDED);
  });

  test.each<[string, unknown]>([
    ["another document's hash", apq(documentHash(ADDED), OTHER)],
    ["a text that only hashes alike", apq(documentHash("{ \ufffd }"), "{ \ud800 }")],
    ["a query that is no text", apq(documentHash(ADDED), 7)],
    ["a version that is not 1", apq(documentHash(ADDED), undefined, 2)],
    ["a version as text", apq(documentHash(ADDED), undefined, "1")],
    ["a hash with a prefix", apq(`sha256:${documentHash(ADDED)}`)],
    ["a hash in uppercase", apq(documentHash(ADDED).toUpperCase())],
    ["a short hash", apq("abc")],
    ["no hash", apq(undefined)],
    ["a hash that is an object", apq({ toString: 1, valueOf: 1 })],
    ["the hash __proto__", apq("__proto__")],
    ["the hash constructor", apq("constructor")],
    ["a persistedQuery that is a text", { extensions: { persistedQuery: documentHash(ADDED) } }],
    ["a persistedQuery that is a list", { extensions: { persistedQuery: [] } }],
    ["a persistedQuery of false", { extensions: { persistedQuery: false } }],
    ["the documentId __proto__", { documentId: "__proto__" }],
    ["another algorithm", { documentId: `sha1:${documentHash(ADDED)}` }],
    ["a documentId that is a number", { documentId: 7 }],
    ["an empty documentId", { documentId: "" }],
    ["a documentId and a text", { documentId: documentHash(ADDED), query: OTHER }],
    ["a documentId and a persistedQuery", { ...named(ADDED), documentId: documentHash(ADDED) }],
  ])("rejects %s", (_what, body) => {
    expect(outcome(finder(allowed), body)).toBe(BAD);
  });

  test.each<[string, unknown]>([
    ["extensions that are a text", { query: OTHER, extensions: "x" }],
    ["extensions that are a list", { query: OTHER, extensions: [named(ADDED)] }],
    [
      "a persistedQuery in __proto__",
      { query: OTHER, extensions: JSON.parse('{"__proto__":{"persistedQuery":1}}') },
    ],
  ])("does not look into %s", (_what, body) => {
    expect(outcome(finder(allowed), body)).toBe(allowed === "any" ? OTHER : NOT_ALLOWED);
  });
});

test("a registered text is found by its hash, also as documentId, but only by the same finder", () => {
  const find = finder("any");
  expect(outcome(find, named(OTHER))).toBe(NOT_FOUND);
  expect(outcome(find, { documentId: documentHash(OTHER) })).toBe("404 PERSISTED_QUERY_NOT_FOUND");
  expect(outcome(find, registered(OTHER))).toBe(OTHER);
  expect(outcome(find, named(OTHER))).toBe(OTHER);
  expect(outcome(find, { documentId: documentHash(OTHER) })).toBe(OTHER);
  expect(outcome(finder("any"), named(OTHER))).toBe(NOT_FOUND);
});

test("a forged hash registers nothing", () => {
  const find = finder("any");
  expect(outcome(find, apq(documentHash(OTHER), "{ evil }"))).toBe(BAD);
  expect(outcome(find, named(OTHER))).toBe(NOT_FOUND);
  expect(outcome(find, named("{ evil }"))).toBe(NOT_FOUND);
});

test("where only added documents are executed, other texts are rejected in every form and not registered", () => {
  const find = finder("added");
  for (const body of [
    { query: OTHER },
    { query: "" },
    { query: `${ADDED} ` },
    { query: "{ \ud800 }" },
    registered(OTHER),
    named(OTHER),
    { documentId: documentHash(OTHER) },
  ])
    expect(outcome(find, body)).toBe(NOT_ALLOWED);
});
