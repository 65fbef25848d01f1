import { circumstances, greeting, type Template } from "../template.ts";

/** Sent to the old address after it was replaced. */
export const emailChanged: Template = (variables, context) => ({
  subject: `Your email address at ${context.appName} was changed`,
  parts: [
    greeting(variables),
    `The email address of your account was changed ${circumstances(variables)}. This address is no longer used.`,
    "If this was not you, write to us at once: someone else knows your password.",
  ],
});
