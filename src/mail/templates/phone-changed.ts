import { circumstances, greeting, notYou, type Template } from "../template.ts";

/** A phone number was proven and is the account's now. */
export const phoneChanged: Template = (variables, context) => ({
  subject: `Your phone number at ${context.appName} was changed`,
  parts: [
    greeting(variables),
    `a phone number became that of your account ${circumstances(variables)}.`,
    ...notYou(context),
  ],
});
