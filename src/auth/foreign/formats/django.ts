import { fromBase64, fromHex } from "../encodings.ts";
import { type ForeignFormat, foreignHash, scryptCost } from "./format.ts";

/** django.contrib.auth.hashers; its argon2 and bcrypt are read with the originals. Salts are text. */
export const DJANGO: readonly ForeignFormat[] = [
  {
    name: "pbkdf2_sha256$…, pbkdf2_sha1$… (Django)",
    pattern: /^pbkdf2_(?<hash>sha256|sha1)\$(?<i>\d+)\$(?<salt>[^$]+)\$(?<digest>[^$]+)$/,
    read: ({ hash, i, salt, digest }) =>
      foreignHash(`pbkdf2-${hash}`, { i: Number(i) }, Buffer.from(salt!), fromBase64(digest!)),
  },
  {
    name: "scrypt$… (Django)",
    pattern: /^scrypt\$(?<n>\d+)\$(?<salt>[^$]+)\$(?<r>\d+)\$(?<p>\d+)\$(?<digest>[^$]+)$/,
    read: ({ n, r, p, salt, digest }) =>
      foreignHash("scrypt", scryptCost(n!, r!, p!), Buffer.from(salt!), fromBase64(digest!)),
  },
  {
    name: "md5$…, sha1$… (Django)",
    pattern: /^(?<hash>md5|sha1)\$(?<salt>[^$]*)\$(?<digest>[^$]+)$/,
    read: ({ hash, salt, digest }) =>
      foreignHash(`${hash}-salt-password`, {}, Buffer.from(salt!), fromHex(digest!)),
  },
];
