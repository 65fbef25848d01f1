import { circumstances, greeting, notYou, type Template } from "../template.ts";

/** The owner canceled the deletion of the account. */
export const accountDeletionCanceled: Template = (variables, context) => ({
  subject: `Your ${context.appName} account will not be deleted`,
  parts: [
    greeting(variables),
    `The deletion of your account was canceled ${circumstances(variables)}. Your account and its data are kept. Create new API tokens if you need them.`,
    ...notYou(context),
  ],
});
