import { circumstances, greeting, notYou, type Template } from "../template.ts";

/** A rule about unusual sign-ins matched. */
export const suspiciousActivity: Template = (variables, context) => ({
  subject: `Unusual activity on your account at ${context.appName}`,
  parts: [
    greeting(variables),
    `We noticed unusual activity on your account ${circumstances(variables)}. Check the list of your sessions and end those you do not recognize.`,
    ...notYou(context),
  ],
});
