import type { TOTP } from "otpauth";

/** How far a test's clock may be from the server's, in steps of 30 seconds. */
const STEPS = 20;

/** A code that is none of an authenticator's, now or soon: any fixed one is, once in a hundred thousand runs. */
export function wrongCode(totp: TOTP): string {
  const codes = new Set<string>();
  for (let step = -STEPS; step <= STEPS; step++)
    codes.add(totp.generate({ timestamp: Date.now() + step * 30_000 }));
  let n = 0;
  while (codes.has(String(n).padStart(6, "0"))) n++;
  return String(n).padStart(6, "0");
}
