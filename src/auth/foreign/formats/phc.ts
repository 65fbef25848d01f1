import { fromBase64 } from "../encodings.ts";
import { type ForeignFormat, foreignHash } from "./format.ts";

const PREFIX = "(?:argon2)?"; // Django's

/** The strings of the PHC format; passlib's scrypt is among them. */
export const PHC: readonly ForeignFormat[] = [
  {
    name: "$argon2id$…, $argon2i$…, $argon2d$… (PHC string)",
    pattern: new RegExp(
      `^${PREFIX}\\$(?<name>argon2(?:id|i|d))\\$(?:v=(?<v>\\d+)\\$)?m=(?<m>\\d+),t=(?<t>\\d+),p=(?<p>\\d+)\\$(?<salt>[^$]+)\\$(?<digest>[^$]+)$`,
    ),
    read({ name, v = "16", m, t, p, salt, digest }) {
      const cost = { v: Number(v), m: Number(m), t: Number(t), p: Number(p) };
      return foreignHash(name!, cost, fromBase64(salt!), fromBase64(digest!));
    },
  },
  {
    name: "$scrypt$ln=… (PHC string, passlib)",
    pattern: /^\$scrypt\$ln=(?<ln>\d+),r=(?<r>\d+),p=(?<p>\d+)\$(?<salt>[^$]+)\$(?<digest>[^$]+)$/,
    read: ({ ln, r, p, salt, digest }) =>
      foreignHash(
        "scrypt",
        { ln: Number(ln), r: Number(r), p: Number(p) },
        fromBase64(salt!),
        fromBase64(digest!),
      ),
  },
  {
    name: "$pbkdf2-sha256$i=…, $pbkdf2-sha512$i=… (PHC string)",
    pattern: /^\$pbkdf2-(?<hash>sha256|sha512)\$i=(?<i>\d+)(?:,l=\d+)?\$(?<salt>[^$]+)\$(?<digest>[^$]+)$/,
    read: ({ hash, i, salt, digest }) =>
      foreignHash(`pbkdf2-${hash}`, { i: Number(i) }, fromBase64(salt!), fromBase64(digest!)),
  },
];
