import { circumstances, greeting, notYou, type Template } from "../template.ts";

/** The owner asked for an export of their data. */
export const dataExportRequested: Template = (variables, context) => ({
  subject: `An export of your ${context.appName} data was requested`,
  parts: [
    greeting(variables),
    `An export of your data was requested ${circumstances(variables)}. You will get another mail when it can be downloaded.`,
    ...notYou(context),
  ],
});
