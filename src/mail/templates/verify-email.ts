import { type Template, textOf } from "../template.ts";

/** Proves an address; sent to the address itself, where a stranger may read. */
export const verifyEmail: Template = (variables, context) => ({
  subject: `Confirm your e-mail address for ${context.appName}`,
  parts: [
    "Hello,",
    `somebody, we hope you, gave this address for the account ${textOf(variables, "username")} at ${context.appName}. Open this link within a day to confirm it:`,
    { label: "Confirm the address", link: `${context.appUrl}/verify-email#token=${context.token}` },
    "Or copy this token:",
    { code: context.token },
    "If it was not you, do nothing: without this the address is not used.",
  ],
});
