import { expect, test } from "@jest/globals";
import { documentHash } from "../../src/documents/document-hash.ts";
import { documentsInManifest } from "../../src/documents/manifest.ts";

const TEXT = "query A { a }";
const HASH = documentHash(TEXT);
const read = (manifest: unknown) =>
  documentsInManifest("m.json", typeof manifest === "string" ? manifest : JSON.stringify(manifest));
const apollo = (...operations: unknown[]) => ({
  format: "apollo-persisted-query-manifest",
  version: 1,
  operations,
});

test("the hash is the SHA-256 in hexadecimal digits", () => {
  expect(documentHash("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});

test.each([
  ["Apollo's manifest", apollo({ id: HASH, name: "A", type: "query", body: TEXT }), "m.json: A"],
  ["an object of hash and text", { [HASH]: TEXT }, `m.json: ${HASH}`],
  ["an object of prefixed hash and text", { [`sha256:${HASH}`]: TEXT }, `m.json: sha256:${HASH}`],
])("%s is read as it stands", (_what, manifest, source) => {
  expect(read(manifest)).toEqual({ documents: [{ source, text: TEXT }], faults: [] });
});

const NOT_SHA256 = expect.stringMatching(/^The id is not a SHA-256\. Let the client's tool use SHA-256: /);
const NOT_ITS_TEXT = "The id is not the SHA-256 of the text.";

test.each<[string, unknown, unknown]>([
  ["an MD5 of Relay", { d41d8cd98f00b204e9800998ecf8427e: TEXT }, NOT_SHA256],
  ["a SHA-1 of graphql-codegen", { da39a3ee5e6b4b0d3255bfef95601890afd80709: TEXT }, NOT_SHA256],
  ["uppercase digits", { [HASH.toUpperCase()]: TEXT }, NOT_SHA256],
  ["a name of an object's own", '{"__proto__": "query A { a }"}', NOT_SHA256],
  ["the hash of another text", { [HASH]: `${TEXT} ` }, NOT_ITS_TEXT],
  ["the hash of another operation", apollo({ id: HASH, body: "{ b }" }), NOT_ITS_TEXT],
  ["a body that is no text", apollo({ id: HASH, body: { a: 1 } }), "The document must be a text."],
  ["an operation without members", apollo(null), "The document must be a text."],
  ["a text that is no text", { [HASH]: 7 }, "The document must be a text."],
])("%s is a fault", (_what, manifest, message) => {
  expect(read(manifest)).toEqual({
    documents: [],
    faults: [{ source: expect.stringMatching(/^m\.json: ./), message }],
  });
});

test.each<[string, unknown, string]>([
  ["invalid JSON", "{", "The file is not JSON."],
  ["a list", [TEXT], "The file must be a manifest"],
  ["null", null, "The file must be a manifest"],
  ["another version", { ...apollo(), version: 2 }, "The file must be a manifest"],
  ["no list of operations", { ...apollo(), operations: {} }, "The file must be a manifest"],
])("a file with %s is a fault", (_what, manifest, message) => {
  expect(read(manifest)).toEqual({
    documents: [],
    faults: [{ source: "m.json", message: expect.stringContaining(message) }],
  });
});
