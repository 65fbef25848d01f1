import { randomInt } from "node:crypto";

const CODE_DIGITS = 8;

/** Eight random digits; NIST SP 800-63B-4 §3.1.3 requires at least six. */
export function createPhoneCode(): string {
  return String(randomInt(10 ** CODE_DIGITS)).padStart(CODE_DIGITS, "0");
}
