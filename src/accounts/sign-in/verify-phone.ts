import { createPhoneCode } from "../../auth/phone-code.ts";
import { type RequestContext, requireClaims } from "../../request/context.ts";
import { PlinthError } from "../../support/errors.ts";
import type { SignInDependencies } from "./dependencies.ts";
import { badInput, checkPhoneNumber, checkText } from "./input.ts";
import { tooManyRequested } from "./verify-email.ts";

export interface RequestPhoneVerificationInput {
  readonly phoneNumber: string;
}

export interface VerifyPhoneInput {
  /** Eight digits; blanks and hyphens between them are ignored. */
  readonly code: string;
}

/**
 * Sends a code to a number.
 * @throws PlinthError UNAUTHENTICATED, BAD_USER_INPUT, RATE_LIMITED, UNAVAILABLE if SMS cannot be sent
 */
export async function requestPhoneVerification(
  { callPrivateFunction, hasher, sealer, canSendSms }: SignInDependencies,
  { phoneNumber }: RequestPhoneVerificationInput,
  request: RequestContext,
): Promise<void> {
  const { userId } = requireClaims(request);
  const number = checkPhoneNumber("phoneNumber", phoneNumber);
  if (!canSendSms) throw new PlinthError("UNAVAILABLE", "This server cannot send text messages.");
  const code = createPhoneCode();
  // A plain hash of so few digits could be reversed immediately.
  const { hash } = await hasher.hash(code);
  const [row] = await callPrivateFunction<{ outcome: "sent" | "too_many" | "refused" }>(
    request,
    "select private.request_phone_verification($1, $2, $3, $4) as outcome",
    [userId, number, hash, sealer.seal("mail token", code)],
  );
  if (row?.outcome === "too_many") throw tooManyRequested("codes");
  if (row?.outcome !== "sent") throw new PlinthError("UNAUTHENTICATED", "You must be signed in.");
}

/** Verifies a number with the code sent to it. Each attempt is counted before it is checked. */
export async function verifyPhone(
  { callPrivateFunction, hasher }: SignInDependencies,
  { code }: VerifyPhoneInput,
  request: RequestContext,
): Promise<void> {
  const { userId } = requireClaims(request);
  checkText("code", code, 40);
  const digits = code.replace(/[\s-]/g, "");
  if (!/^[0-9]{8}$/.test(digits)) throw badInput("code", "must be the eight digits of the message");
  const [attempt] = await callPrivateFunction<{ verification_id: string; code_hash: string }>(
    request,
    "select verification_id, code_hash from private.take_phone_attempt($1)",
    [userId],
  );
  const matches = attempt ? await hasher.verify(digits, attempt.code_hash) : await hasher.verifyDummy(digits);
  const [row] = await callPrivateFunction<{ outcome: "verified" | "refused" | "taken" }>(
    request,
    "select private.finish_phone_verification($1, $2, $3) as outcome",
    [userId, attempt?.verification_id ?? null, matches],
  );
  if (row?.outcome === "taken")
    throw new PlinthError("CONFLICT", "`phoneNumber` is already taken.", { field: "phoneNumber" });
  if (row?.outcome !== "verified")
    throw new PlinthError("BAD_USER_INPUT", "The code is wrong or expired, or had too many attempts.", {
      field: "code",
      hint: "Request a new one.",
    });
}
