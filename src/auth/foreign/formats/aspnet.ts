import { fromBase64 } from "../encodings.ts";
import type { ForeignHash } from "../scheme.ts";
import { type ForeignFormat, foreignHash } from "./format.ts";

/** The values of KeyDerivationPrf. */
const HASHES = ["sha1", "sha256", "sha512"];
const HEADER_LENGTH = 13;
const V2 = { iterations: 1000, saltLength: 16, length: 49 };

/** ASP.NET Core Identity's PasswordHasher: base64 of a version byte, the parameters (big-endian), the salt and the digest. */
export const ASP_NET: readonly ForeignFormat[] = [
  {
    name: "AQAAAA… (ASP.NET Core Identity)",
    pattern: /^(?<bytes>A[A-Za-z0-9+/]{40,}={0,2})$/,
    read({ bytes }) {
      const data = fromBase64(bytes!);
      if (data?.[0] === 0) return readV2(data);
      return data?.[0] === 1 && data.length > HEADER_LENGTH ? readV3(data) : undefined;
    },
  },
];

function readV2(data: Buffer): ForeignHash | undefined {
  if (data.length !== V2.length) return undefined;
  const end = 1 + V2.saltLength;
  return foreignHash("pbkdf2-sha1", { i: V2.iterations }, data.subarray(1, end), data.subarray(end));
}

function readV3(data: Buffer): ForeignHash | undefined {
  const hash = HASHES[data.readUInt32BE(1)];
  const end = HEADER_LENGTH + data.readUInt32BE(9);
  if (hash === undefined || end >= data.length) return undefined;
  const salt = data.subarray(HEADER_LENGTH, end);
  return foreignHash(`pbkdf2-${hash}`, { i: data.readUInt32BE(5) }, salt, data.subarray(end));
}
