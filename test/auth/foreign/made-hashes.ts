import { argon2Sync, createHash, createHmac, pbkdf2Sync, randomBytes, scryptSync } from "node:crypto";
import bcrypt from "bcryptjs";
import type { ForeignPasswordHash } from "../../../src/auth/foreign-password-hash.ts";

const hex = (bytes: Buffer) => bytes.toString("hex");
const base64 = (bytes: Buffer) => bytes.toString("base64");
const phc = (bytes: Buffer) => base64(bytes).replaceAll("=", "");
const passlib = (bytes: Buffer) => phc(bytes).replaceAll("+", ".");
const text = () => hex(randomBytes(8));

const bcryptOf = (password: string) => bcrypt.hashSync(password, 4);

function aspNet(password: string): string {
  const salt = randomBytes(16);
  const header = Buffer.alloc(13);
  header[0] = 1;
  for (const [index, value] of [2, 1000, salt.length].entries()) header.writeUInt32BE(value, 1 + 4 * index);
  return base64(Buffer.concat([header, salt, pbkdf2Sync(password, salt, 1000, 32, "sha512")]));
}

function aspNetV2(password: string): string {
  const salt = randomBytes(16);
  return base64(Buffer.concat([Buffer.alloc(1), salt, pbkdf2Sync(password, salt, 1000, 32, "sha1")]));
}

function argon2Of(name: "argon2i" | "argon2d" | "argon2id", password: string): string {
  const nonce = randomBytes(16);
  const tag = argon2Sync(name, {
    message: password,
    nonce,
    memory: 64,
    passes: 2,
    parallelism: 2,
    tagLength: 32,
  });
  return `$${name}$v=19$m=64,t=2,p=2$${phc(nonce)}$${phc(tag)}`;
}

const digestOf = (name: string, ...parts: (string | Buffer)[]) =>
  parts.reduce((hash, part) => hash.update(part), createHash(name)).digest();

/** Makes a hash of a password with Node's own functions and a random salt, once for each way to write one. */
export const MAKERS: Readonly<Record<string, (password: string) => ForeignPasswordHash>> = {
  ...Object.fromEntries(
    ["md5", "sha1", "sha256", "sha512"].flatMap((name) => [
      [
        `${name}, salt first`,
        (password: string) => {
          const salt = text();
          return { hash: hex(digestOf(name, salt, password)), salt, algorithm: name, order: "salt-password" };
        },
      ],
      [
        `${name}, password first, salt of bytes`,
        (password: string) => {
          const salt = randomBytes(9);
          return {
            hash: base64(digestOf(name, password, salt)),
            salt: base64(salt),
            saltEncoding: "base64",
            algorithm: name,
            order: "password-salt",
          };
        },
      ],
      [
        `${name}, HMAC`,
        (password: string) => {
          const salt = randomBytes(9);
          const hash = createHmac(name, salt).update(password).digest("hex").toUpperCase();
          return { hash, salt: hex(salt), saltEncoding: "hex", algorithm: name, order: "hmac" };
        },
      ],
      [
        `${name}, order in the algorithm`,
        (password: string) => {
          const salt = text();
          return { hash: hex(digestOf(name, password, salt)), salt, algorithm: `${name}-password-salt` };
        },
      ],
      [`${name}, unsalted`, (password: string) => ({ hash: hex(digestOf(name, password)), algorithm: name })],
    ]),
  ),
  ...Object.fromEntries(
    (["sha1", "sha256", "sha512"] as const).map((name) => [
      `PBKDF2 ${name}, salt in its own column`,
      (password: string) => {
        const salt = text();
        return {
          hash: hex(pbkdf2Sync(password, salt, 500, 64, name)),
          salt,
          algorithm: `pbkdf2_${name}:i=500`,
        };
      },
    ]),
  ),
  "PBKDF2, PHC string": (password) => {
    const salt = randomBytes(16);
    return {
      hash: `$pbkdf2-sha256$i=500,l=32$${phc(salt)}$${phc(pbkdf2Sync(password, salt, 500, 32, "sha256"))}`,
    };
  },
  "PBKDF2, Django": (password) => {
    const salt = text();
    return { hash: `pbkdf2_sha256$500$${salt}$${base64(pbkdf2Sync(password, salt, 500, 32, "sha256"))}` };
  },
  "PBKDF2, passlib": (password) => {
    const salt = randomBytes(16);
    return {
      hash: `$pbkdf2-sha512$500$${passlib(salt)}$${passlib(pbkdf2Sync(password, salt, 500, 64, "sha512"))}`,
    };
  },
  "PBKDF2, Werkzeug": (password) => {
    const salt = text();
    return { hash: `pbkdf2:sha256:500$${salt}$${hex(pbkdf2Sync(password, salt, 500, 32, "sha256"))}` };
  },
  "PBKDF2, ASP.NET Core Identity 3": (password) => ({ hash: aspNet(password) }),
  "PBKDF2, ASP.NET Core Identity 2": (password) => ({ hash: aspNetV2(password) }),
  "scrypt, salt in its own column": (password) => {
    const salt = text();
    return { hash: hex(scryptSync(password, salt, 64)), salt, algorithm: "scrypt" };
  },
  "scrypt, PHC string": (password) => {
    const salt = randomBytes(16);
    const digest = scryptSync(password, salt, 32, { N: 256, r: 4, p: 2 });
    return { hash: `$scrypt$ln=8,r=4,p=2$${phc(salt)}$${phc(digest)}` };
  },
  "scrypt, Django": (password) => {
    const salt = text();
    const digest = scryptSync(password, salt, 64, { N: 256, r: 8, p: 5 });
    return { hash: `scrypt$256$${salt}$8$5$${base64(digest)}` };
  },
  "scrypt, Werkzeug": (password) => {
    const salt = text();
    return { hash: `scrypt:256:8:1$${salt}$${hex(scryptSync(password, salt, 64, { N: 256, r: 8, p: 1 }))}` };
  },
  "HMAC, Werkzeug": (password) => {
    const salt = text();
    return { hash: `sha256$${salt}$${createHmac("sha256", salt).update(password).digest("hex")}` };
  },
  "SHA-1, Django": (password) => {
    const salt = text();
    return { hash: `sha1$${salt}$${hex(digestOf("sha1", salt, password))}` };
  },
  argon2i: (password) => ({ hash: argon2Of("argon2i", password) }),
  argon2d: (password) => ({ hash: argon2Of("argon2d", password) }),
  argon2id: (password) => ({ hash: argon2Of("argon2id", password) }),
  bcrypt: (password) => ({ hash: bcryptOf(password) }),
  "bcrypt of SHA-256, Django": (password) => ({
    hash: `bcrypt_sha256$${bcryptOf(createHash("sha256").update(password).digest("hex"))}`,
  }),
};
