import { type Template, textOf } from "../template.ts";

/** Verifies an address. Sent to the address itself, which may belong to a stranger. */
export const verifyEmail: Template = (variables, context) => ({
  subject: `Confirm your email address for ${context.appName}`,
  parts: [
    "Hello,",
    `This address was entered for the account ${textOf(variables, "username")} at ${context.appName}. Open this link within a day to confirm it:`,
    { label: "Confirm the address", link: `${context.appUrl}/verify-email#token=${context.token}` },
    "Or copy this token:",
    { code: context.token },
    "If this was not you, do nothing. The address is not used until it is confirmed.",
  ],
});
