import { greeting, notYou, type Template } from "../template.ts";
import { dateOf } from "./date-of.ts";

/** The export is ready. There is no link: its owner must be signed in to download it. */
export const dataExportReady: Template = (variables, context) => ({
  subject: `Your ${context.appName} data is ready to download`,
  parts: [
    greeting(variables),
    `The export of your data is ready. Sign in to download it. It will be deleted ${dateOf(variables, "expires_at")}.`,
    { label: "Sign in", link: `${context.appUrl}/sign-in` },
    ...notYou(context),
  ],
});
