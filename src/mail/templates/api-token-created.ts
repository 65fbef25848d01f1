import { circumstances, greeting, notYou, type Template } from "../template.ts";

/** An API token was created. */
export const apiTokenCreated: Template = (variables, context) => ({
  subject: `New API token at ${context.appName}`,
  parts: [
    greeting(variables),
    `An API token was created for your account ${circumstances(variables)}. Any program that has it can act as you.`,
    ...notYou(context),
  ],
});
