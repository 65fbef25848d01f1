import type { Template } from "../template.ts";

/** The code that verifies a phone number. A text message has no room for more. */
export const phoneCode: Template = (_variables, context) => ({
  subject: "",
  parts: [
    `${context.appName}: ${context.token} is your code, valid for 10 minutes. We will never ask you for it.`,
  ],
});
