import { circumstances, greeting, notYou, type Template } from "../template.ts";

/** A new password was set, by its owner or through a mail. */
export const passwordChanged: Template = (variables, context) => ({
  subject: `Your password at ${context.appName} was changed`,
  parts: [
    greeting(variables),
    variables.by_reset === true
      ? `a new password was set with a link from your mail ${circumstances(variables)}. All devices were signed out.`
      : `your password was changed ${circumstances(variables)}.`,
    ...notYou(context),
  ],
});
