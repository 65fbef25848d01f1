import "postgraphile";
import { constant } from "postgraphile/grafast";
import { extendSchema, gql } from "postgraphile/utils";
import type { SignIn } from "../src/accounts/sign-in/index.ts";
import type { RequestContext } from "../src/request/context.ts";
import { serviceField, serviceFieldWithoutInput } from "./credentials-field.ts";

/** The operations on an input that answer nothing but "done". */
type Acknowledged = {
  [TName in keyof SignIn]: SignIn[TName] extends (input: never, request: RequestContext) => Promise<void>
    ? TName
    : never;
}[keyof SignIn];

/** Their payload is an object, because a field without a value would be null. */
function acknowledged(name: Acknowledged) {
  return serviceField<never, object>(async (signIn, input, request) => {
    await signIn[name](input, request);
    return {};
  });
}

/**
 * Lost passwords, and addresses and numbers to be proven: tokens are made and sealed, passwords and codes hashed outside
 * SQL, so these are written by hand.
 */
export const AccountRecoveryPlugin = extendSchema(
  () => ({
    typeDefs: gql`
      """Who forgot the password."""
      input RequestPasswordResetInput {
        """Username or e-mail address."""
        identifier: String!
      }

      """A token from a mail, and the password it is to set."""
      input ResetPasswordInput {
        """From the mail: \`plp_…\`."""
        token: String!
        """At least 15 characters; a few unrelated words are good."""
        newPassword: String!
      }

      """A token from a mail."""
      input VerifyEmailInput {
        """From the mail: \`plv_…\`."""
        token: String!
      }

      """The address the account is to have."""
      input ChangeEmailInput {
        newEmail: String!
        currentPassword: String!
      }

      """The number the account is to have."""
      input RequestPhoneVerificationInput {
        """With its country, such as +4915112345678."""
        phoneNumber: String!
      }

      """The code from a text message."""
      input VerifyPhoneInput {
        """Eight digits."""
        code: String!
      }

      """The request was taken; there is nothing more to tell."""
      type AcknowledgedPayload {
        """Always true: what failed is an error."""
        ok: Boolean!
        query: Query
      }

      extend type Mutation {
        """
        Mails a link to set a new password, valid for 30 minutes and once. The answer is the same whether there is such an
        account.
        """
        requestPasswordReset(input: RequestPasswordResetInput!): AcknowledgedPayload
        """
        Sets a new password with the token of a mail, ends all sessions and signs nobody in. Fails with BAD_USER_INPUT for
        a token that is not valid, and for a password that is refused; the token can then be used again.
        """
        resetPassword(input: ResetPasswordInput!): AcknowledgedPayload
        """Mails a link that proves the account's address, valid for a day and once."""
        requestEmailVerification: AcknowledgedPayload
        """Proves an address with the token of a mail; a new address becomes the account's. Needs no session."""
        verifyEmail(input: VerifyEmailInput!): AcknowledgedPayload
        """
        Mails a link to another address, which becomes the account's once it is opened; the old one is told. Fails with
        INVALID_CREDENTIALS for a wrong password.
        """
        changeEmail(input: ChangeEmailInput!): AcknowledgedPayload
        """Sends a code to a number, valid for ten minutes and five tries. UNAVAILABLE where no SMS can be sent."""
        requestPhoneVerification(input: RequestPhoneVerificationInput!): AcknowledgedPayload
        """Proves a number with the code that was sent there; it becomes the account's."""
        verifyPhone(input: VerifyPhoneInput!): AcknowledgedPayload
      }
    `,
    objects: {
      Mutation: {
        plans: {
          requestPasswordReset: acknowledged("requestPasswordReset"),
          resetPassword: acknowledged("resetPassword"),
          requestEmailVerification: serviceFieldWithoutInput(async (signIn, request) => {
            await signIn.requestEmailVerification(request);
            return {};
          }),
          verifyEmail: acknowledged("verifyEmail"),
          changeEmail: acknowledged("changeEmail"),
          requestPhoneVerification: acknowledged("requestPhoneVerification"),
          verifyPhone: acknowledged("verifyPhone"),
        },
      },
      AcknowledgedPayload: {
        plans: { ok: () => constant(true), query: () => constant({}) },
      },
    },
  }),
  "PlinthAccountRecoveryPlugin",
);
