import { circumstances, greeting, notYou, type Template } from "../template.ts";

/** A sign-in provider was linked or unlinked. */
export const oauthChanged: Template = (variables, context) => ({
  subject: `Your sign-in settings at ${context.appName} were changed`,
  parts: [
    greeting(variables),
    `A sign-in provider was linked to or unlinked from your account ${circumstances(variables)}.`,
    ...notYou(context),
  ],
});
