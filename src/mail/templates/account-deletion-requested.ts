import { circumstances, greeting, notYou, type Template } from "../template.ts";
import { dateOf } from "./date-of.ts";

/** The owner requested the deletion of the account. It can still be canceled. */
export const accountDeletionRequested: Template = (variables, context) => ({
  subject: `Your ${context.appName} account will be deleted`,
  parts: [
    greeting(variables),
    `The deletion of your account was requested ${circumstances(variables)}. Your account and its data will be deleted ${dateOf(variables, "due_at")}. Your other sessions and your API tokens have ended.`,
    "To keep your account, sign in before then and cancel the deletion.",
    { label: "Sign in", link: `${context.appUrl}/sign-in` },
    ...notYou(context),
  ],
});
