import type { Template } from "../template.ts";

/** The code that proves a number; a text message has no room for more. */
export const phoneCode: Template = (_variables, context) => ({
  subject: "",
  parts: [
    `${context.appName}: ${context.token} is your code, valid for 10 minutes. Nobody of us asks for it.`,
  ],
});
