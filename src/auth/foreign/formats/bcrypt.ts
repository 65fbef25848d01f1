import { type ForeignFormat, foreignHash } from "./format.ts";

const BCRYPT = "(?<cost>\\d\\d)\\$(?<salt>[./A-Za-z0-9]{22})(?<digest>[./A-Za-z0-9]{31})";

/**
 * `$2x$` marks hashes of a library that read bytes above 127 wrongly (CVE-2011-2483). ASCII passwords have the same hash in
 * all four forms; any other password of a `$2x$` hash does not match and has to be reset.
 */
export const BCRYPT_FORMATS: readonly ForeignFormat[] = [
  {
    name: "$2a$…, $2b$…, $2x$…, $2y$… (bcrypt)",
    pattern: new RegExp(`^(?:bcrypt\\$)?\\$2[abxy]\\$${BCRYPT}$`), // bcrypt$ is Django's prefix.
    read: (groups) => bcryptHash("bcrypt", groups),
  },
  {
    name: "bcrypt_sha256$$2b$… (Django)",
    pattern: new RegExp(`^bcrypt_sha256\\$\\$2[aby]\\$${BCRYPT}$`),
    read: (groups) => bcryptHash("bcrypt-sha256-hex", groups),
  },
  {
    name: "$bcrypt-sha256$… (passlib)",
    pattern:
      /^\$bcrypt-sha256\$v=2,t=2b,r=(?<cost>\d\d?)\$(?<salt>[./A-Za-z0-9]{22})\$(?<digest>[./A-Za-z0-9]{31})$/,
    read: (groups) => bcryptHash("bcrypt-sha256", groups),
  },
  {
    name: "$bcrypt-sha256$2b,… (passlib before 1.7.3)",
    pattern:
      /^\$bcrypt-sha256\$2[ab],(?<cost>\d\d?)\$(?<salt>[./A-Za-z0-9]{22})\$(?<digest>[./A-Za-z0-9]{31})$/,
    read: (groups) => bcryptHash("bcrypt-sha256-base64", groups),
  },
];

function bcryptHash(name: string, { cost, salt, digest }: Readonly<Record<string, string>>) {
  return foreignHash(
    name,
    { ln: Number(cost) },
    Buffer.from(salt!, "latin1"),
    Buffer.from(digest!, "latin1"),
  );
}
