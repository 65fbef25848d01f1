import { PlinthError } from "../support/errors.ts";
import { type Environment, matching, textOrFile, webUrl } from "./environment.ts";

const SENDER = /^([^<>@\p{Cc}]*<[^<>@\s\p{Cc}]+@[^<>@\s\p{Cc}]+>|[^<>@\s\p{Cc}]+@[^<>@\s\p{Cc}]+)$/u;

export function mail(env: Environment): { smtpUrl: string | undefined; from: string; appUrl: string } {
  return {
    smtpUrl: smtpUrl(env),
    from: matching(
      env,
      "PLINTH_MAIL_FROM",
      "Plinth <plinth@localhost>",
      SENDER,
      "an address, or a name and an address in <>",
    ),
    appUrl: webUrl(env, "PLINTH_APP_URL", "http://localhost:3000"),
  };
}

/** The URL may contain a password, so no message contains it. */
function smtpUrl(env: Environment): string | undefined {
  const value = textOrFile(env, "PLINTH_SMTP_URL", "").trim();
  if (!value) return undefined;
  if (/^smtps?:\/\/[^/]/.test(value) && URL.canParse(value)) return value;
  throw new PlinthError(
    "INVALID_SETTING",
    "PLINTH_SMTP_URL must be a URL such as smtps://user:password@mail.example.com:465.",
  );
}
