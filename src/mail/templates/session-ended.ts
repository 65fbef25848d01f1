import { circumstances, greeting, notYou, type Template } from "../template.ts";

/** A session was ended by the service, not by its owner. */
export const sessionEnded: Template = (variables, context) => ({
  subject: `You were signed out of ${context.appName}`,
  parts: [
    greeting(variables),
    `one of your sessions was ended for your safety ${circumstances(variables)}: its token was used twice, so somebody may have a copy. Sign in again.`,
    ...notYou(context),
  ],
});
