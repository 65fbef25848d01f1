import { circumstances, greeting, notYou, type Template } from "../template.ts";

/** The session timeout or the allowed networks were changed. */
export const securitySettingsChanged: Template = (variables, context) => ({
  subject: `Your security settings at ${context.appName} were changed`,
  parts: [
    greeting(variables),
    `The session timeout or the allowed networks of your account were changed ${circumstances(variables)}.`,
    ...notYou(context),
  ],
});
