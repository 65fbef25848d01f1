import { circumstances, greeting, notYou, type Template, textOf } from "../template.ts";

const HAPPENINGS: Readonly<Record<string, string>> = {
  factor_added: "A second factor was added to your account",
  factor_removed: "A second factor was removed from your account",
  mfa_locked: "Codes for your account are temporarily rejected because too many wrong ones were entered",
  recovery_code_used: "A recovery code of your account was used",
  recovery_codes_replaced: "The recovery codes of your account were replaced",
  passkey_cloned: "A passkey of your account was rejected because a copy of it seems to be in use",
};

/** A second factor was added, removed, locked or replaced by a recovery code; `event` names the case. */
export const mfaChanged: Template = (variables, context) => ({
  subject: `Your sign-in settings at ${context.appName} were changed`,
  parts: [
    greeting(variables),
    `${HAPPENINGS[textOf(variables, "event")] ?? "The sign-in settings of your account were changed"} ${circumstances(variables)}.`,
    ...notYou(context),
  ],
});
