import { circumstances, greeting, notYou, type Template } from "../template.ts";

/** A session of a program or from a network not seen for 90 days. */
export const newSignIn: Template = (variables, context) => ({
  subject: `New sign-in at ${context.appName}`,
  parts: [greeting(variables), `you signed in ${circumstances(variables)}.`, ...notYou(context)],
});
