import { greeting, type Template } from "../template.ts";

/** The last mail of an account. */
export const accountDeleted: Template = (variables, context) => ({
  subject: `Your ${context.appName} account was deleted`,
  parts: [
    greeting(variables),
    "Your account and its data were deleted, as you requested. This cannot be undone. We will not write to this address again.",
    "If you did not request this, write to us.",
  ],
});
