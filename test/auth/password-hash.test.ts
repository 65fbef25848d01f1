import { execFile } from "node:child_process";
import { argon2Sync } from "node:crypto";
import { promisify } from "node:util";
import { afterAll, describe, expect, test } from "@jest/globals";
import { createPasswordHasher, needsRehash } from "../../src/auth/password-hash.ts";
import { unmatchableHash } from "../../src/auth/password-hash-format.ts";

const hasher = createPasswordHasher({ concurrency: 2 });
afterAll(() => hasher.close());

const PASSWORD = "correct horse battery staple";
/** The argon2id vectors of the reference implementation, phc-winner-argon2/src/test.c. */
const REFERENCE_ARGON2ID =
  "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

describe("argon2id", () => {
  test("hashes with the parameters and the format that OWASP recommends", async () => {
    const { hash, algorithm } = await hasher.hash(PASSWORD);
    expect(algorithm).toBe("argon2id");
    expect(hash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    expect((await hasher.hash(PASSWORD)).hash).not.toBe(hash);
  });

  test("agrees with OpenSSL's implementation", async () => {
    const { hash } = await hasher.hash(PASSWORD);
    const [salt, digest] = hash.split("$").slice(-2);
    const expected = argon2Sync("argon2id", {
      message: PASSWORD,
      nonce: Buffer.from(salt!, "base64"),
      memory: 19_456,
      passes: 2,
      parallelism: 1,
      tagLength: 32,
    });
    expect(digest).toBe(expected.toString("base64").replaceAll("=", ""));
  });

  test("verifies a hash of the reference implementation", async () => {
    expect(await hasher.verify("password", REFERENCE_ARGON2ID)).toBe(true);
    expect(await hasher.verify("Password", REFERENCE_ARGON2ID)).toBe(false);
  });

  test("treats a password with combining accents as the same password", async () => {
    const forms = ["NFC", "NFD"].map((form) => "crème brûlée à volonté".normalize(form));
    for (const chosen of forms) {
      const { hash } = await hasher.hash(chosen);
      for (const typed of forms) expect(await hasher.verify(typed, hash)).toBe(true);
      expect(await hasher.verify("creme brulee a volonte", hash)).toBe(false);
    }
  });

  test("reads a long password to its end", async () => {
    const { hash } = await hasher.hash(`${"x".repeat(1023)}a`);
    expect(await hasher.verify(`${"x".repeat(1023)}a`, hash)).toBe(true);
    expect(await hasher.verify(`${"x".repeat(1023)}b`, hash)).toBe(false);
  });
});

describe("bcrypt", () => {
  const longPassword = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

  test.each([
    // crypt_blowfish (Openwall), wrapper.c
    ["U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"],
    ["U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"],
    ["U*U*U", "$2b$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"],
    ["", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"],
    // jBCrypt, TestBCrypt.java
    ["abcdefghijklmnopqrstuvwxyz", "$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC"],
  ])("verifies the published vector for %j", async (password, hash) => {
    expect(await hasher.verify(password, hash)).toBe(true);
    expect(await hasher.verify(`${password}!`, hash)).toBe(false);
  });

  test("reads 72 bytes, as every bcrypt implementation does", async () => {
    const hash = "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui";
    expect(await hasher.verify(longPassword, hash)).toBe(true);
    expect(await hasher.verify(`${longPassword}chars after 72 are ignored`, hash)).toBe(true);
    expect(await hasher.verify(longPassword.slice(0, 71), hash)).toBe(false);
  });

  test("does not block the event loop", async () => {
    await hasher.verify("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW");
    /** Processor time, because a busy machine gives the event loop few turns in any case. */
    const shareOfThisThread = async () => {
      const before = [process.threadCpuUsage(), process.cpuUsage()] as const;
      // Cost 11, about 0.2 s. Not a vector: the digest is made up and matches nothing.
      expect(await hasher.verify("U*U", `$2a$11$${"C".repeat(53)}`)).toBe(false);
      const [ofThisThread, ofAll] = [process.threadCpuUsage(before[0]), process.cpuUsage(before[1])];
      return ofThisThread.user / ofAll.user;
    };
    // In the meantime, this thread may collect the garbage of all test files before.
    let share = 1;
    for (let tries = 0; tries < 5 && share >= 0.5; tries++) share = await shareOfThisThread();
    expect(share).toBeLessThan(0.5);
  });
});

describe("bcrypt-sha256", () => {
  // passlib 1.7, test_handlers_bcrypt.py: bcrypt_sha256, version 2
  test.each([
    ["", "$bcrypt-sha256$v=2,t=2b,r=5$E/e/2AOhqM5W/KJTFQzLce$WFPIZKtDDTriqWwlmRFfHiOTeheAZWe"],
    ["password", "$bcrypt-sha256$v=2,t=2b,r=5$5Hg1DKFqPE8C2aflZ5vVoe$wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS"],
    [
      "t\u00e1\u0411\u2113\u0259",
      "$bcrypt-sha256$v=2,t=2b,r=5$.US1fQ4TQS.ZTz/uJ5Kyn.$pzzgp40k8reM1CuQb03PvE0IDPQSdV6",
    ],
    [
      "abc123".repeat(12),
      "$bcrypt-sha256$v=2,t=2b,r=5$X1g1nh3g0v4h6970O68cxe$zu1cloESVFIOsUIo7fCEgkdHaI9SSue",
    ],
    [
      `${"abc123".repeat(12)}qwr`,
      "$bcrypt-sha256$v=2,t=2b,r=5$X1g1nh3g0v4h6970O68cxe$CBF9csfEdW68xv3DwE6xSULXMtqEFP.",
    ],
    [
      `${"abc123".repeat(12)}xyz`,
      "$bcrypt-sha256$v=2,t=2b,r=5$X1g1nh3g0v4h6970O68cxe$zC/1UDUG2ofEXB6Onr2vvyFzfhEOS3S",
    ],
  ])("verifies the published vector for %j", async (password, hash) => {
    expect(await hasher.verify(password, hash)).toBe(true);
    expect(await hasher.verify(`${password}!`, hash)).toBe(false);
  });

  test("hashes a password of any length to its end if bcrypt is configured [H4]", async () => {
    const bcryptHasher = createPasswordHasher({ concurrency: 1, algorithm: "bcrypt-sha256" });
    try {
      const { hash, algorithm } = await bcryptHasher.hash(`${"x".repeat(1023)}a`);
      expect(algorithm).toBe("bcrypt-sha256");
      expect(hash).toMatch(/^\$bcrypt-sha256\$v=2,t=2b,r=12\$[./A-Za-z0-9]{22}\$[./A-Za-z0-9]{31}$/);
      expect(await bcryptHasher.verify(`${"x".repeat(1023)}a`, hash)).toBe(true);
      expect(await hasher.verify(`${"x".repeat(1023)}b`, hash)).toBe(false);
      expect([bcryptHasher.needsRehash(hash), bcryptHasher.needsRehash(REFERENCE_ARGON2ID)]).toEqual([
        false,
        true,
      ]);
      // After a return to argon2id, the hashes are replaced at the next sign-in.
      expect(hasher.needsRehash(hash)).toBe(true);
      expect(await bcryptHasher.verifyDummy(PASSWORD)).toBe(false);
    } finally {
      await bcryptHasher.close();
    }
  });

  test.each([
    "$bcrypt-sha256$v=2,t=2b,r=5$5Hg1DKF!PE8C2aflZ5vVoe$wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS",
    "$bcrypt-sha256$v=1,t=2b,r=5$5Hg1DKFqPE8C2aflZ5vVoe$wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS",
    "$bcrypt-sha256$v=2,t=2b,r=5$5Hg1DKFqPE8C2aflZ5vVoe$short",
  ])("matches nothing if malformed: %s", async (hash) => {
    expect(await hasher.verify("password", hash)).toBe(false);
  });

  test("rejects an unaffordable cost", async () => {
    const hash = "$bcrypt-sha256$v=2,t=2b,r=31$5Hg1DKFqPE8C2aflZ5vVoe$wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS";
    await expect(hasher.verify("password", hash)).rejects.toMatchObject({
      code: "UNSUPPORTED_PASSWORD_HASH",
    });
  });
});

describe("an unusable hash", () => {
  test.each([
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ",
    "$argon2id$v=19$m=19456,t=2,p=1$$",
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$AAAA",
    "$argon2id$v=99$m=19456,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
    "$argon2id$v=19$m=0,t=0,p=0$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
    "$argon2id$v=19$m=4,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
    "$argon2id$",
    "$2a$05$tooshort",
    "$2b$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "$2y$32$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
  ])("matches nothing if malformed: %s", async (hash) => {
    expect(await hasher.verify("password", hash)).toBe(false);
    expect(needsRehash(hash)).toBe(true);
  });

  test.each([
    "",
    "password",
    "5f4dcc3b5aa765d61d8327deb882cf99",
    "{SSHA}q5C8lAAnBv7lBNmbWZVRlsZGUaBoq8Wp",
    "$2x$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e",
    "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO/O817G3uBnIFNjnQJuesI68OTLiBFdcbYEdFCoEOfaS35inz1",
    "$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
    "$argon2id$v=19$m=65536,t=1000,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
  ])("is rejected if its algorithm is unknown or its cost unaffordable: %s", async (hash) => {
    const error = await hasher.verify("password", hash).catch((e) => e);
    expect(error).toMatchObject({ code: "UNSUPPORTED_PASSWORD_HASH" });
    if (hash.length > 10) expect(`${error.message}${error.hint}`).not.toContain(hash);
  });
});

describe("needsRehash", () => {
  test("keeps current hashes and stronger ones", async () => {
    expect(needsRehash((await hasher.hash(PASSWORD)).hash)).toBe(false);
    expect(needsRehash(argon2({ memory: 65_536, passes: 3 }))).toBe(false);
  });

  test.each([
    ["less memory", argon2({ memory: 19_455 })],
    ["fewer passes", argon2({ passes: 1 })],
    ["a short salt", argon2({ salt: "c29tZXNhbHQ" })],
    ["a short digest", argon2({ digest: "A".repeat(22) })],
    ["argon2i", argon2({}).replace("argon2id", "argon2i")],
    ["argon2 1.0", argon2({}).replace("v=19", "v=16")],
    ["bcrypt", "$2b$12$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"],
    ["an unknown format", "plain text"],
  ])("replaces %s", (_, hash) => expect(needsRehash(hash)).toBe(true));

  function argon2({ memory = 19_456, passes = 2, salt = "A".repeat(22), digest = "A".repeat(43) }): string {
    return `$argon2id$v=19$m=${memory},t=${passes},p=1$${salt}$${digest}`;
  }
});

describe("verifyDummy", () => {
  test("never matches and counts as a hash", async () => {
    const answer = hasher.verifyDummy(PASSWORD);
    expect(hasher.load().running).toBe(1);
    expect(await answer).toBe(false);
  });

  test("takes as long as verifying a current hash", async () => {
    const form = (hash: string) => hash.split("$").map((part, index) => (index < 4 ? part : part.length));
    expect(form(unmatchableHash())).toEqual(form((await hasher.hash(PASSWORD)).hash));
    expect(unmatchableHash()).not.toBe(unmatchableHash());
  });

  test("replaces a hash that cannot be parsed", async () => {
    const answer = hasher.verify(PASSWORD, "$2b$12$malformed");
    expect(hasher.load().running).toBe(1);
    expect(await answer).toBe(false);
  });
});

describe("a password that is too long", () => {
  const password = "x".repeat(4097);

  test("matches nothing and is never hashed", async () => {
    const answers = [hasher.verify(password, REFERENCE_ARGON2ID), hasher.verifyDummy(password)];
    expect(hasher.load()).toEqual({ running: 0, waiting: 0 });
    expect(await Promise.all(answers)).toEqual([false, false]);
    await expect(hasher.hash(password)).rejects.toMatchObject({ code: "BAD_USER_INPUT", field: "password" });
  });
});

describe("limits", () => {
  test("hashes in order", async () => {
    const single = createPasswordHasher({ concurrency: 1 });
    const order: number[] = [];
    const jobs = [0, 1, 2, 3].map((index) => single.hash(PASSWORD).then(() => order.push(index)));
    await Promise.all(jobs);
    expect(order).toEqual([0, 1, 2, 3]);
    await single.close();
  });

  test("hashes no more at once than configured and rejects what exceeds the queue", async () => {
    const small = createPasswordHasher({ concurrency: 2, queueLimit: 3 });
    const running: number[] = [];
    const jobs = Array.from({ length: 5 }, async () => {
      await small.hash(PASSWORD);
      running.push(small.load().running);
    });
    expect(small.load()).toEqual({ running: 2, waiting: 3 });

    await expect(small.hash(PASSWORD)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(small.verify("password", REFERENCE_ARGON2ID)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(small.verifyDummy(PASSWORD)).rejects.toMatchObject({ code: "UNAVAILABLE" });

    await Promise.all(jobs);
    expect(Math.max(...running)).toBeLessThanOrEqual(2);
    expect(small.load()).toEqual({ running: 0, waiting: 0 });
    expect((await small.hash(PASSWORD)).algorithm).toBe("argon2id");
    await small.close();
  });

  test("finishes running hashes on closing and rejects waiting and new ones", async () => {
    const small = createPasswordHasher({ concurrency: 1 });
    const running = small.verify("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW");
    const waiting = small.hash(PASSWORD);
    // The first begins, and its thread cannot have answered yet.
    await new Promise<void>((resolve) => process.nextTick(resolve));
    const [closing, ...outcomes] = await Promise.allSettled([small.close(), running, waiting]);
    expect(closing.status).toBe("fulfilled");
    expect(outcomes).toMatchObject([
      { status: "fulfilled", value: true },
      { status: "rejected", reason: { code: "UNAVAILABLE" } },
    ]);
    await expect(small.hash(PASSWORD)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await small.close();
  });

  test("keeps the process alive while hashing, not while idle", async () => {
    const module = new URL("../../src/auth/password-hash.ts", import.meta.url);
    const script = `
      const { createPasswordHasher } = await import(${JSON.stringify(module.href)});
      const hasher = createPasswordHasher({ concurrency: 1 });
      const hash = (cost) => "$2a$" + cost + "$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
      hasher.verify("U*U", hash("05")).then(() => hasher.verify("U*U", hash("10"))).then((answer) => console.log(answer));`;
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], {
      timeout: 300_000,
    });
    expect(stdout).toBe("false\n");
  });
});
