import { circumstances, greeting, notYou, type Template } from "../template.ts";

/** A second factor was added or removed. */
export const mfaChanged: Template = (variables, context) => ({
  subject: `Signing in to ${context.appName} was changed`,
  parts: [
    greeting(variables),
    `a second factor of your account was added or removed ${circumstances(variables)}.`,
    ...notYou(context),
  ],
});
