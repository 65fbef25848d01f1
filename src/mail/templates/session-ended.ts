import { circumstances, greeting, notYou, type Template, textOf } from "../template.ts";

/** The service or an administrator ended a session. */
export const sessionEnded: Template = (variables, context) => ({
  subject: `You were signed out of ${context.appName}`,
  parts: [
    greeting(variables),
    textOf(variables, "event") === "sessions_ended_by_administrator"
      ? "An administrator ended all your sessions. Sign in again."
      : `We ended one of your sessions for your safety ${circumstances(variables)}. Its token was used twice, so someone else may have a copy. Sign in again.`,
    ...notYou(context),
  ],
});
