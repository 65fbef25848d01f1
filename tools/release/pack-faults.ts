import { readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";

/** The result of `npm pack --json`. */
export interface Packed {
  readonly filename: string;
  /** Bytes to download. */
  readonly size: number;
  readonly unpackedSize: number;
  readonly files: readonly { readonly path: string }[];
}

export const MAX_PACKED_MB = 5;
export const MAX_UNPACKED_MB = 20;

/** The files and folders that a package may have. */
const CONTENTS =
  /^(dist\/(src|plugins|client)\/|src\/(cli\/plinth\.js|demo\/|schema-docs\/page\/|console\/assets\/)|templates\/|deploy\/|migrations\/|docs\/|examples\/|(README|CHANGELOG)\.md|LICENSE|package\.json|current\.sql|\.gmrc)/;

const SECRET_FILES =
  /(^|\/)(\.env(\.\w+)?|\.npmrc|\.plinth|secrets?(\.json)?)(\/|$)|\.(pem|key|p12|log|tgz)$/;

const NEEDED = ["README.md", "CHANGELOG.md", "LICENSE", "migrations/CHECKSUMS", "docs/licences.md"];

/** Private keys, and tokens in the forms of npm, GitHub, AWS, Stripe and OpenAI. */
const SECRETS =
  /-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\n[A-Za-z0-9+/]{40}|\b(?:npm_[A-Za-z0-9]{36}|gh[pousr]_[A-Za-z0-9]{36}|AKIA[0-9A-Z]{16}|sk_live_[A-Za-z0-9]{20,}|sk-(?:proj-)?[A-Za-z0-9]{40,})\b/;

/** Folders of people on the machines on which a package is made. */
const HOMES = /(?<![\w.])\/(?:root|home\/[a-z]+|Users\/\w+)\/[\w.-]+/;

/** Returns a sentence for each file that a package must not have, or lacks. */
export function packFaults({ files, size, unpackedSize }: Packed): string[] {
  const paths = files.map(({ path }) => posix.normalize(path));
  return [
    ...paths
      .filter((path) => !CONTENTS.test(path))
      .map((path) => `${path} does not belong into the package.`),
    ...secretFiles(paths),
    ...NEEDED.filter((path) => !paths.includes(path)).map((path) => `${path} is missing in the package.`),
    ...paths.flatMap((path) => textFaults(path, readFileSync(join(PACKAGE_ROOT, path), "latin1"))),
    ...tooLarge("packed", size, MAX_PACKED_MB),
    ...tooLarge("unpacked", unpackedSize, MAX_UNPACKED_MB),
  ];
}

export function secretFiles(paths: readonly string[]): string[] {
  return paths.filter((path) => SECRET_FILES.test(path)).map((path) => `${path} may be a secret.`);
}

export function textFaults(path: string, text: string): string[] {
  const secret = SECRETS.test(text) ? [`${path} contains what looks like a key or a token.`] : [];
  const machine = HOMES.exec(text)?.[0] ?? (text.includes(`${PACKAGE_ROOT}/`) ? PACKAGE_ROOT : undefined);
  return [...secret, ...(machine ? [`${path} names a path of a machine: ${machine}`] : [])];
}

function tooLarge(how: string, bytes: number, limit: number): string[] {
  const megabytes = bytes / 1e6;
  return megabytes > limit
    ? [`The package has ${megabytes.toFixed(1)} MB ${how}, more than ${limit} MB.`]
    : [];
}
