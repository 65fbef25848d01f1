import { circumstances, greeting, notYou, type Template } from "../template.ts";

/** A sign-in through another provider was linked or unlinked. */
export const oauthChanged: Template = (variables, context) => ({
  subject: `Signing in to ${context.appName} was changed`,
  parts: [
    greeting(variables),
    `signing in through another provider was added to your account or removed ${circumstances(variables)}.`,
    ...notYou(context),
  ],
});
