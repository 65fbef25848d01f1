import type { ForeignHash } from "../scheme.ts";
import { ASP_NET } from "./aspnet.ts";
import { BCRYPT_FORMATS } from "./bcrypt.ts";
import { DJANGO } from "./django.ts";
import type { ForeignFormat } from "./format.ts";
import { PASSLIB } from "./passlib.ts";
import { PHC } from "./phc.ts";
import { WERKZEUG } from "./werkzeug.ts";

export const FORMATS: readonly ForeignFormat[] = [
  ...PHC,
  ...BCRYPT_FORMATS,
  ...DJANGO,
  ...PASSLIB,
  ...WERKZEUG,
  ...ASP_NET,
];

/** Returns undefined for a text that does not name its scheme. */
export function readFormat(text: string): ForeignHash | undefined {
  for (const { pattern, read } of FORMATS) {
    const groups = pattern.exec(text)?.groups;
    const found = groups && read(groups);
    if (found) return found;
  }
  return undefined;
}
