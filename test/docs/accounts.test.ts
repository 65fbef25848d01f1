import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { FORMATS } from "../../src/auth/foreign/formats/index.ts";
import { importedPasswordHash } from "../../src/index.ts";

const page = readFileSync(new URL("../../docs/accounts.md", import.meta.url), "utf8");

test("docs/accounts.md lists exactly the known formats of password hashes", () => {
  const [, table] = /\| Text of the hash \| Origin \|\n\| --- \| --- \|\n((?:\|.*\n)+)/.exec(page)!;
  const rows = [...table!.matchAll(/^\| (.+) \| (.+) \|$/gm)].map(
    ([, texts, origin]) => `${texts!.replaceAll("`", "")} (${origin})`,
  );
  expect(rows.sort()).toEqual(FORMATS.map(({ name }) => name).sort());
});

test("docs/accounts.md names algorithms and costs that importedPasswordHash accepts", async () => {
  const [, table] = /\| `algorithm` \|.*\n\|.*\n((?:\|.*\n)+)/.exec(page)!;
  const cells = [...table!.matchAll(/^\| (.+?) \| (.*?) ?\|/gm)].flatMap(([, names, costs]) => [
    names!,
    costs!,
  ]);
  const named = cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name!));
  expect(named.length).toBeGreaterThan(12);
  for (const name of named) {
    const algorithm = /^pbkdf2-sha\d+$/.test(name) ? `${name}:i=100000` : name;
    const input = { hash: "ab".repeat(DIGEST_BYTES[name] ?? 32), salt: "0123456789abcdef", algorithm };
    const { hashAlgorithm } = await importedPasswordHash({ ...input, order: "salt-password" });
    expect([name, hashAlgorithm]).toEqual([name, /^argon2(:|$)/.test(name) ? "argon2id" : "wrapped"]);
  }
});

test("the example of docs/accounts.md returns what it says", async () => {
  const [, hash] = /importedPasswordHash\(\{ hash: "([^"]+)" \}\)/.exec(page)!;
  const [, beginning, algorithm] = /passwordHash: "([^"]+)…", hashAlgorithm: "([^"]+)"/.exec(page)!;
  const { passwordHash, hashAlgorithm } = await importedPasswordHash({ hash: hash! });
  expect([passwordHash.slice(0, beginning!.length), hashAlgorithm]).toEqual([beginning, algorithm]);
});

const DIGEST_BYTES: Readonly<Record<string, number>> = { md5: 16, sha1: 20, sha512: 64 };
