import { type NormalEmail, readVouchedEmail } from "../auth/email-hash.ts";
import { ProviderError } from "./provider-error.ts";

/** Who somebody is at a provider: standard claims (OpenID Connect Core §5.1), checked and cut to size. */
export interface ProviderAccount {
  /** 1 to 255 characters; the only thing an account is recognised by. */
  readonly subject: string;
  /** In its normal form; undefined if there is none, or if it would have to become another text. */
  readonly email: NormalEmail | undefined;
  /** The provider's word for it; false without an address. */
  readonly emailVerified: boolean;
  /** Kept for the application: texts only. */
  readonly userInfo: Readonly<Record<string, string>>;
}

/** What the scopes `openid email profile` ask for and somebody may want to see; nothing else is kept. */
const KEPT = ["name", "given_name", "family_name", "preferred_username", "picture", "locale"] as const;
const MAX_TEXT_LENGTH = 500;
const MAX_SUBJECT_LENGTH = 255;

/** @throws ProviderError not_believed without a subject that can be kept */
export function readAccount(claims: Readonly<Record<string, unknown>>): ProviderAccount {
  const { sub, email, email_verified: verified } = claims;
  if (!isCleanText(sub, MAX_SUBJECT_LENGTH)) throw new ProviderError("not_believed", "bad_subject");
  const address = typeof email === "string" ? readVouchedEmail(email) : undefined;
  const kept = KEPT.map((name) => [name, claims[name]] as const);
  return {
    subject: sub,
    email: address,
    // Some send the text. Anything else, above all nothing, is no.
    emailVerified: address !== undefined && (verified === true || verified === "true"),
    userInfo: Object.fromEntries(
      kept.filter((entry): entry is [(typeof KEPT)[number], string] =>
        isCleanText(entry[1], MAX_TEXT_LENGTH),
      ),
    ),
  };
}

/** What PostgreSQL can store and a page can show. */
function isCleanText(value: unknown, maxLength: number): value is string {
  return (
    typeof value === "string" &&
    value !== "" &&
    value.length <= maxLength &&
    value.isWellFormed() &&
    !/\p{Cc}/u.test(value)
  );
}
