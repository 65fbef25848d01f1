import { circumstances, greeting, notYou, type Template, textOf } from "../template.ts";

/** A session was ended by the service, not by its owner. */
export const sessionEnded: Template = (variables, context) => ({
  subject: `You were signed out of ${context.appName}`,
  parts: [
    greeting(variables),
    textOf(variables, "event") === "sessions_ended_by_administrator"
      ? "an administrator ended all your sessions. Sign in again."
      : `one of your sessions was ended for your safety ${circumstances(variables)}: its token was used twice, so somebody may have a copy. Sign in again.`,
    ...notYou(context),
  ],
});
