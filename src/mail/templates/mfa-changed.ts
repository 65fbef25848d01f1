import { circumstances, greeting, notYou, type Template, textOf } from "../template.ts";

const HAPPENINGS: Readonly<Record<string, string>> = {
  factor_added: "a second factor was added to your account",
  factor_removed: "a second factor was removed from your account",
  mfa_locked: "codes for your account are refused for a while, because too many wrong ones were tried",
  recovery_code_used: "a recovery code of your account was used",
  recovery_codes_replaced: "the recovery codes of your account were replaced",
  passkey_cloned: "a passkey of your account was refused, because a copy of it seems to be in use",
};

/** A second factor was added, removed, locked, or stood in for; `event` says which. */
export const mfaChanged: Template = (variables, context) => ({
  subject: `Signing in to ${context.appName} was changed`,
  parts: [
    greeting(variables),
    `${HAPPENINGS[textOf(variables, "event")] ?? "how your account is signed in to was changed"} ${circumstances(variables)}.`,
    ...notYou(context),
  ],
});
