import { circumstances, greeting, notYou, type Template } from "../template.ts";

/** A token for programs was made. */
export const apiTokenCreated: Template = (variables, context) => ({
  subject: `New API token at ${context.appName}`,
  parts: [
    greeting(variables),
    `an API token was made for your account ${circumstances(variables)}. Whoever has it acts as you.`,
    ...notYou(context),
  ],
});
