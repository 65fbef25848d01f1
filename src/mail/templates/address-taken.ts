import { greeting, type Template } from "../template.ts";

/** Sent to the owner of an address that was entered for another account. */
export const addressTaken: Template = (variables, context) => ({
  subject: `Your email address is in use at ${context.appName}`,
  parts: [
    greeting(variables),
    `This email address was entered for another account at ${context.appName}. It stays on your account, and the other user was not told that you have one.`,
    "If this was you, sign in to the account that has this address, or choose another address. If not, no action is needed.",
  ],
});
