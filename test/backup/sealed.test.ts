import { randomBytes } from "node:crypto";
import { describe, expect, test } from "@jest/globals";
import { open, seal } from "../../src/wal/sealed.ts";

const KEY = randomBytes(32);
const HEADER = 32;
const CHUNK = 65_536 + 16;

async function collect(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of source) parts.push(part);
  return Buffer.concat(parts);
}

const sealed = (content: Buffer, name = "a") => collect(seal([content], KEY, name));
const opened = (content: Buffer, name = "a", keys = [KEY]) => collect(open([content], keys, name));

describe("an encrypted file", () => {
  test.each([0, 1, 65_535, 65_536, 65_537, 200_000])(
    "of %i bytes is read as it was written",
    async (size) => {
      const content = randomBytes(size);
      const stored = await sealed(content);
      if (size >= 16) expect(stored.includes(content.subarray(0, 16))).toBe(false);
      expect((await opened(stored)).equals(content)).toBe(true);
      // In parts of any size, as a stream delivers them.
      const parts = Array.from({ length: Math.ceil(stored.length / 1_000) }, (_, at) =>
        stored.subarray(at * 1_000, (at + 1) * 1_000),
      );
      expect((await collect(open(parts, [randomBytes(32), KEY], "a"))).equals(content)).toBe(true);
    },
  );

  const content = randomBytes(200_000);
  const cases: [string, (stored: Buffer) => Buffer, RegExp][] = [
    ["without its last byte", (stored) => stored.subarray(0, -1), /cut off/],
    ["cut after a chunk", (stored) => stored.subarray(0, HEADER + 2 * CHUNK), /cut off/],
    ["cut after the header", (stored) => stored.subarray(0, HEADER), /cut off/],
    ["cut in the header", (stored) => stored.subarray(0, 10), /damaged or not/],
    ["with a changed bit", (stored) => stored.with(HEADER + 5, stored[HEADER + 5]! ^ 1) as Buffer, /damaged/],
    ["with a byte more", (stored) => Buffer.concat([stored, Buffer.from("x")]), /damaged/],
    [
      "with two chunks exchanged",
      (stored) =>
        Buffer.concat([
          stored.subarray(0, HEADER),
          stored.subarray(HEADER + CHUNK, HEADER + 2 * CHUNK),
          stored.subarray(HEADER, HEADER + CHUNK),
          stored.subarray(HEADER + 2 * CHUNK),
        ]),
      /damaged/,
    ],
  ];
  test.each(cases)("%s is rejected", async (_change, change, message) => {
    const stored = await sealed(content);
    await expect(opened(Buffer.from(change(stored)))).rejects.toThrow(message);
  });

  test("is rejected under another file's name", async () => {
    await expect(opened(await sealed(content, "a"), "b")).rejects.toThrow(/damaged/);
  });

  test("is rejected with another key, whose id the message names", async () => {
    await expect(opened(await sealed(content), "a", [randomBytes(32)])).rejects.toMatchObject({
      isWrongKey: true,
      message: expect.stringMatching(/another key \(id [0-9a-f]{16}\)/),
    });
  });
});
