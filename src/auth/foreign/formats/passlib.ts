import { fromBase64 } from "../encodings.ts";
import { type ForeignFormat, foreignHash } from "./format.ts";

/** passlib.hash; its argon2, scrypt and bcrypt_sha256 are read with the originals. */
export const PASSLIB: readonly ForeignFormat[] = [
  {
    name: "$pbkdf2-sha256$…, $pbkdf2-sha512$…, $pbkdf2$… (passlib)",
    pattern: /^\$pbkdf2(?:-(?<hash>sha256|sha512))?\$(?<i>\d+)\$(?<salt>[^$]+)\$(?<digest>[^$]+)$/,
    read: ({ hash = "sha1", i, salt, digest }) =>
      foreignHash(`pbkdf2-${hash}`, { i: Number(i) }, fromBase64(salt!), fromBase64(digest!)),
  },
];
