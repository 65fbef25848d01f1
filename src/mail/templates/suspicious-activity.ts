import { circumstances, greeting, notYou, type Template } from "../template.ts";

/** A rule about unusual sign-ins was met. */
export const suspiciousActivity: Template = (variables, context) => ({
  subject: `Unusual activity on your account at ${context.appName}`,
  parts: [
    greeting(variables),
    `something about your account looked unusual ${circumstances(variables)}. Please look at the list of your sessions and end those you do not know.`,
    ...notYou(context),
  ],
});
