import { circumstances, greeting, notYou, type Template } from "../template.ts";

/** The owner requested an export of their data. */
export const dataExportRequested: Template = (variables, context) => ({
  subject: `An export of your ${context.appName} data was requested`,
  parts: [
    greeting(variables),
    `An export of your data was requested ${circumstances(variables)}. We will email you when it is ready to download.`,
    ...notYou(context),
  ],
});
