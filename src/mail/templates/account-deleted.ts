import { greeting, type Template, textOf } from "../template.ts";

/** The last mail of an account. */
export const accountDeleted: Template = (variables, context) => ({
  subject: `Your ${context.appName} account was deleted`,
  parts: [
    greeting(variables),
    "Your account and its data were deleted, as you requested. This cannot be undone. We will not write to this address again.",
    `The certificate of the erasure has the number ${textOf(variables, "certificate")}. Your account had the id ${textOf(variables, "account")}; with both, you can prove that it was yours.`,
    "If you did not request this, write to us.",
  ],
});
