import { circumstances, greeting, notYou, type Template } from "../template.ts";

/** A new password was set, by a signed-in user or with a link from an email. */
export const passwordChanged: Template = (variables, context) => ({
  subject: `Your password at ${context.appName} was changed`,
  parts: [
    greeting(variables),
    variables.by_reset === true
      ? `A new password was set with a link from an email ${circumstances(variables)}. All devices were signed out.`
      : `Your password was changed ${circumstances(variables)}.`,
    ...notYou(context),
  ],
});
