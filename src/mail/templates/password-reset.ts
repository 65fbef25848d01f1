import { circumstances, greeting, type Template } from "../template.ts";

/** The link to set a new password. */
export const passwordReset: Template = (variables, context) => ({
  subject: `Set a new password for ${context.appName}`,
  parts: [
    greeting(variables),
    `A new password was requested for your account ${circumstances(variables)}. Open this link within 30 minutes to set one:`,
    { label: "Set a new password", link: `${context.appUrl}/reset-password#token=${context.token}` },
    "Or copy this token:",
    { code: context.token },
    "If this was not you, do nothing. Your password stays the same.",
  ],
});
