import { afterAll, describe, expect, test } from "@jest/globals";
import { FORMATS } from "../../src/auth/foreign/formats/index.ts";
import { SCHEME_NAMES } from "../../src/auth/foreign/schemes/index.ts";
import { parseWrapped } from "../../src/auth/foreign/wrapped-hash.ts";
import { type ForeignPasswordHash, importedPasswordHash } from "../../src/auth/foreign-password-hash.ts";
import { createPasswordHasher } from "../../src/auth/password-hash.ts";
import { makeRandom, SEED } from "../support/random.ts";
import { MAKERS } from "./foreign/made-hashes.ts";
import { VECTORS } from "./foreign/vectors.ts";

const hasher = createPasswordHasher({ concurrency: 2 });
afterAll(() => hasher.close());

const STORED = {
  argon2id: /^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+$/,
  bcrypt: /^\$2b\$\d\d\$[./A-Za-z0-9]{53}$/,
  wrapped: /^\$plinth-wrapped\$v=1\$f=[^$]+\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/,
};

test.each(VECTORS.map((vector) => [vector.origin, vector.input.hash, vector] as const))(
  "%s: verifies %s with its password only",
  async (_origin, _hash, { password, input, algorithm = "wrapped" }) => {
    const { passwordHash, hashAlgorithm } = await importedPasswordHash(input);
    expect(hashAlgorithm).toBe(algorithm);
    expect(passwordHash).toMatch(STORED[algorithm as keyof typeof STORED]);
    expect(await hasher.verify(password, passwordHash)).toBe(true);
    expect(await hasher.verify(`${password}!`, passwordHash)).toBe(false);
    expect(hasher.needsRehash(passwordHash)).toBe(algorithm !== "argon2id");
  },
);

test("verifies a random password of each format, and rejects each near miss", async () => {
  const random = makeRandom(SEED);
  // 60 bytes at most: bcrypt reads 72.
  const letters = [..."abcXYZ 0189!$:,=äßЖ語𝄞\u0301"];
  const password = Array.from({ length: 3 + random(12) }, () => letters[random(letters.length)]).join("");
  // Not one with a NUL at its end: HMAC, and so PBKDF2 and scrypt, fill up short keys with NUL.
  const misses = [password.slice(0, -1), `${password} `, `x${password}`, ""];
  const reached = new Set<string>();
  for (const [format, make] of Object.entries(MAKERS)) {
    const context = `${format}, seed ${SEED}`;
    const { passwordHash } = await importedPasswordHash(make(password));
    const miss = misses[random(misses.length)]!;
    const answers = await Promise.all([password, miss].map((typed) => hasher.verify(typed, passwordHash)));
    expect([context, ...answers]).toEqual([context, true, false]);
    reached.add(parseWrapped(passwordHash)!.scheme.name);
  }
  // The two forms of passlib's bcrypt_sha256 have vectors above.
  expect(SCHEME_NAMES.filter((name) => !reached.has(name))).toEqual([
    "bcrypt-sha256",
    "bcrypt-sha256-base64",
  ]);
});

test("has a vector or a made hash of each format", () => {
  const texts = [...VECTORS.map(({ input }) => input), ...Object.values(MAKERS).map((make) => make("x"))];
  for (const { name, pattern } of FORMATS)
    expect([name, texts.some(({ hash }) => pattern.test(hash))]).toEqual([name, true]);
});

test("draws a new salt for each wrapped hash", async () => {
  const input = { hash: "900150983cd24fb0d6963f7d28e17f72", algorithm: "md5" };
  const [first, second] = [await importedPasswordHash(input), await importedPasswordHash(input)];
  expect(first.passwordHash).not.toBe(second.passwordHash);
  expect(first.passwordHash).not.toContain(Buffer.from(input.hash, "hex").toString("base64").slice(0, 8));
});

test("keeps argon2id and bcrypt as they are from OWASP's minimum on", async () => {
  const digest = "A".repeat(43);
  const argon2 = (m: number, t: number) => ({
    hash: `$argon2id$v=19$m=${m},t=${t},p=4$c29tZXNhbHQ$${digest}`,
  });
  const cases: [ForeignPasswordHash, string][] = [
    [argon2(7168, 5), "argon2id"],
    [argon2(47_104, 1), "argon2id"],
    [argon2(7168, 4), "wrapped"],
    [argon2(4096, 50), "wrapped"],
    [{ hash: argon2(65_536, 3).hash.replace("v=19", "v=16") }, "wrapped"],
    [{ hash: argon2(65_536, 3).hash.replace("argon2id", "argon2i") }, "wrapped"],
    [{ hash: `$2y$10$${"C".repeat(53)}` }, "bcrypt"],
    [{ hash: `$2y$09$${"C".repeat(53)}` }, "wrapped"],
    [{ hash: `$bcrypt-sha256$v=2,t=2b,r=12$${"C".repeat(22)}$${"C".repeat(31)}` }, "bcrypt-sha256"],
  ];
  for (const [input, algorithm] of cases) {
    const { hashAlgorithm, passwordHash } = await importedPasswordHash(input);
    expect([input.hash, hashAlgorithm]).toEqual([input.hash, algorithm]);
    if (algorithm === "argon2id") expect(passwordHash).toBe(input.hash);
  }
});

describe("rejects", () => {
  const SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

  test.each<[string, ForeignPasswordHash]>([
    ["an empty text", { hash: "" }],
    ["a text in clear", { hash: "hunter2" }],
    ["a digest without its algorithm", { hash: SHA256 }],
    ["a salted digest without its order", { hash: SHA256, salt: "x", algorithm: "sha256" }],
    ["a digest of another length", { hash: SHA256, algorithm: "md5" }],
    ["an unknown algorithm", { hash: SHA256, salt: "x", algorithm: "whirlpool" }],
    ["a name of Object", { hash: SHA256, salt: "x", algorithm: "constructor" }],
    ["a PBKDF2 without iterations", { hash: SHA256, salt: "x", algorithm: "pbkdf2" }],
    ["a cost that is no number", { hash: SHA256, salt: "x", algorithm: "pbkdf2:i=many" }],
    ["a cost of zero", { hash: SHA256, salt: "x", algorithm: "pbkdf2:i=0" }],
    ["a salt that is not hexadecimal", { hash: SHA256, salt: "x", algorithm: "scrypt", saltEncoding: "hex" }],
    [
      "an argon2 salt that is no base64",
      { hash: "$argon2id$v=19$m=256,t=2,p=1$!!!!$AAAAAAAAAAAAAAAAAAAAAA" },
    ],
    [
      "an argon2 of an unknown version",
      { hash: `$argon2id$v=20$m=256,t=2,p=1$c29tZXNhbHQ$${"A".repeat(43)}` },
    ],
    ["less memory than lanes need", { hash: `$argon2id$v=19$m=8,t=2,p=2$c29tZXNhbHQ$${"A".repeat(43)}` }],
    ["a digest of a few bytes", { hash: "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$AAAA" }],
    ["an N that is no power of two", { hash: `scrypt:1000:8:1$salt$${SHA256}` }],
    ["a bcrypt cost below 4", { hash: `$2b$03$${"C".repeat(53)}` }],
    ["a truncated ASP.NET hash", { hash: "AQAAAAEAACcQAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==" }],
  ])("%s, and names the known formats", async (_what, input) => {
    const error = await importedPasswordHash(input).catch((e) => e);
    expect(error).toMatchObject({
      code: "UNSUPPORTED_PASSWORD_HASH",
      hint: expect.stringContaining("pbkdf2_sha256$"),
    });
    if (input.hash) expect(`${error.message}${error.hint}`).not.toContain(input.hash);
  });

  const tag = "A".repeat(43);
  const EXPENSIVE = [
    `$argon2id$v=19$m=524288,t=1,p=1$c29tZXNhbHQ$${tag}`,
    `$argon2i$v=19$m=65536,t=1000,p=1$c29tZXNhbHQ$${tag}`,
    `$argon2i$v=19$m=65536,t=1,p=200$c29tZXNhbHQ$${tag}`,
    `$scrypt$ln=18,r=8,p=1$c29tZXNhbHQ$${tag}`,
    `$scrypt$ln=10,r=8,p=1000$c29tZXNhbHQ$${tag}`,
    `$scrypt$ln=60,r=8,p=1$c29tZXNhbHQ$${tag}`,
    `$pbkdf2-sha256$2000001$c29tZXNhbHQ$${tag}`,
    // Two blocks of SHA-256 take twice the iterations.
    `pbkdf2:sha256:1500000$salt$${SHA256}${SHA256}`,
    `$2b$14$${"C".repeat(53)}`,
  ];
  test.each(EXPENSIVE)("a cost that would stall sign-ins: %s", async (hash) => {
    await expect(importedPasswordHash({ hash })).rejects.toMatchObject({
      code: "UNSUPPORTED_PASSWORD_HASH",
      message: expect.stringContaining("above the limit"),
    });
  });

  test("a stored wrapped hash whose cost was raised later, without computing it", async () => {
    const { passwordHash } = await importedPasswordHash({ hash: `$scrypt$ln=8,r=8,p=1$c29tZXNhbHQ$${tag}` });
    for (const raised of [
      passwordHash.replace("ln=8", "ln=24"),
      passwordHash.replace("m=19456", "m=4194304"),
    ]) {
      const answer = hasher.verify("x", raised);
      expect(hasher.load().running).toBe(0);
      await expect(answer).rejects.toMatchObject({ code: "UNSUPPORTED_PASSWORD_HASH" });
    }
  });

  test("a damaged wrapped hash, in the time of a current one", async () => {
    const { passwordHash } = await importedPasswordHash({ hash: SHA256, algorithm: "sha256" });
    for (const damaged of [
      passwordHash.replace("f=sha256-salt-password", "f=constructor"),
      passwordHash.replace("l=32", "l=31"),
      passwordHash.replace("v=1$", "v=2$"),
      passwordHash.replace("t=2", "t=0"),
      passwordHash.slice(0, -43),
    ]) {
      const answer = hasher.verify("abc", damaged);
      expect(hasher.load().running).toBe(1);
      expect(await answer).toBe(false);
    }
    expect(await hasher.verify("abc", passwordHash)).toBe(true);
  });
});
