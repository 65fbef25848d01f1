import { circumstances, greeting, notYou, type Template } from "../template.ts";

/** A phone number was verified and set on the account. */
export const phoneChanged: Template = (variables, context) => ({
  subject: `Your phone number at ${context.appName} was changed`,
  parts: [
    greeting(variables),
    `The phone number on your account was changed ${circumstances(variables)}.`,
    ...notYou(context),
  ],
});
