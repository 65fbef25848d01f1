import { circumstances, greeting, notYou, type Template } from "../template.ts";

/** A session from a program or a network that was not seen in the last 90 days. */
export const newSignIn: Template = (variables, context) => ({
  subject: `New sign-in at ${context.appName}`,
  parts: [
    greeting(variables),
    `There was a new sign-in to your account ${circumstances(variables)}.`,
    ...notYou(context),
  ],
});
