import { circumstances, greeting, type Template } from "../template.ts";

/** To the old address, when another one has taken its place. */
export const emailChanged: Template = (variables, context) => ({
  subject: `Your e-mail address at ${context.appName} was changed`,
  parts: [
    greeting(variables),
    `another e-mail address became that of your account ${circumstances(variables)}. This one is no longer used.`,
    "If this was not you, write to us at once: whoever it was knows your password.",
  ],
});
