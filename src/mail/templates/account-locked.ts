import { circumstances, greeting, type Template } from "../template.ts";

/** Too many wrong passwords. */
export const accountLocked: Template = (variables, context) => ({
  subject: `Your account at ${context.appName} is locked for a while`,
  parts: [
    greeting(variables),
    `too many wrong passwords were tried for your account, the last one ${circumstances(variables)}. It opens again by itself, after an hour at most.`,
    "If that was you and you forgot the password, set a new one. If not, there is nothing to do: nobody got in.",
    { label: "Set a new password", link: `${context.appUrl}/forgot-password` },
  ],
});
