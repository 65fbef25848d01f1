import { fromHex } from "../encodings.ts";
import { type ForeignFormat, foreignHash, scryptCost } from "./format.ts";

/** werkzeug.security, which Flask applications use. Salts are text, digests hexadecimal. */
export const WERKZEUG: readonly ForeignFormat[] = [
  {
    name: "scrypt:… (Werkzeug)",
    pattern: /^scrypt:(?<n>\d+):(?<r>\d+):(?<p>\d+)\$(?<salt>[^$]+)\$(?<digest>[^$]+)$/,
    read: ({ n, r, p, salt, digest }) =>
      foreignHash("scrypt", scryptCost(n!, r!, p!), Buffer.from(salt!), fromHex(digest!)),
  },
  {
    name: "pbkdf2:sha256:…, pbkdf2:sha1:…, pbkdf2:sha512:… (Werkzeug)",
    pattern: /^pbkdf2:(?<hash>sha1|sha256|sha512):(?<i>\d+)\$(?<salt>[^$]+)\$(?<digest>[^$]+)$/,
    read: ({ hash, i, salt, digest }) =>
      foreignHash(`pbkdf2-${hash}`, { i: Number(i) }, Buffer.from(salt!), fromHex(digest!)),
  },
  {
    name: "sha256$…, sha512$… (Werkzeug before 3)",
    pattern: /^(?<hash>sha256|sha512)\$(?<salt>[^$]+)\$(?<digest>[^$]+)$/,
    read: ({ hash, salt, digest }) => foreignHash(`${hash}-hmac`, {}, Buffer.from(salt!), fromHex(digest!)),
  },
];
