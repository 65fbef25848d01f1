import { type NormalEmail, readVouchedEmail } from "../auth/email-hash.ts";
import { ProviderError } from "./provider-error.ts";

/** A user's account at a provider: standard claims (OpenID Connect Core §5.1), validated and truncated. */
export interface ProviderAccount {
  /** 1 to 255 characters; the only identifier of the account. */
  readonly subject: string;
  /** In normal form; undefined if missing, or if it would have to be changed. */
  readonly email: NormalEmail | undefined;
  /** As reported by the provider; false without an address. */
  readonly emailVerified: boolean;
  /** Stored for the application: strings only. */
  readonly userInfo: Readonly<Record<string, string>>;
}

/** The useful claims of the scopes `openid email profile`; no others are stored. */
const KEPT = ["name", "given_name", "family_name", "preferred_username", "picture", "locale"] as const;
const MAX_TEXT_LENGTH = 500;
const MAX_SUBJECT_LENGTH = 255;

/** @throws ProviderError not_believed without a storable subject */
export function readAccount(claims: Readonly<Record<string, unknown>>): ProviderAccount {
  const { sub, email, email_verified: verified } = claims;
  if (!isCleanText(sub, MAX_SUBJECT_LENGTH)) throw new ProviderError("not_believed", "bad_subject");
  const address = typeof email === "string" ? readVouchedEmail(email) : undefined;
  const kept = KEPT.map((name) => [name, claims[name]] as const);
  return {
    subject: sub,
    email: address,
    // Some providers send a string. Anything else, including a missing claim, means false.
    emailVerified: address !== undefined && (verified === true || verified === "true"),
    userInfo: Object.fromEntries(
      kept.filter((entry): entry is [(typeof KEPT)[number], string] =>
        isCleanText(entry[1], MAX_TEXT_LENGTH),
      ),
    ),
  };
}

/** Whether PostgreSQL can store a text and a page can show it. */
function isCleanText(value: unknown, maxLength: number): value is string {
  return (
    typeof value === "string" &&
    value !== "" &&
    value.length <= maxLength &&
    value.isWellFormed() &&
    !/\p{Cc}/u.test(value)
  );
}
