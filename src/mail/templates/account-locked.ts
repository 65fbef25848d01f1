import { circumstances, greeting, type Template } from "../template.ts";

/** Too many wrong passwords. */
export const accountLocked: Template = (variables, context) => ({
  subject: `Your account at ${context.appName} is temporarily locked`,
  parts: [
    greeting(variables),
    `Too many wrong passwords were entered for your account, the last one ${circumstances(variables)}. It unlocks automatically within an hour.`,
    "If this was you and you forgot your password, set a new one. If this was not you, no action is needed: the attempts failed.",
    { label: "Set a new password", link: `${context.appUrl}/forgot-password` },
  ],
});
