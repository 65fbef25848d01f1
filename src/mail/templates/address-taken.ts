import { greeting, type Template } from "../template.ts";

/** To the holder of an address that somebody tried to give to another account. */
export const addressTaken: Template = (variables, context) => ({
  subject: `Your e-mail address is in use at ${context.appName}`,
  parts: [
    greeting(variables),
    `somebody tried to give this address to another account at ${context.appName}. It stays yours, and they were not told that you have an account.`,
    "If it was you: sign in to the account that has this address, or choose another one.",
  ],
});
