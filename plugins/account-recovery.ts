import "graphile-build-pg";
import { constant } from "grafast";
import { extendSchema, gql } from "graphile-utils";
import type { SignIn } from "../src/accounts/sign-in/index.ts";
import type { RequestContext } from "../src/request/context.ts";
import { serviceField, serviceFieldWithoutInput } from "./credentials-field.ts";

/** The operations on an input that return nothing but an acknowledgement. */
type Acknowledged = {
  [TName in keyof SignIn]: SignIn[TName] extends (input: never, request: RequestContext) => Promise<void>
    ? TName
    : never;
}[keyof SignIn];

/** The payload is an object, because a field without a value would be null. */
function acknowledged(name: Acknowledged) {
  return serviceField<never, object>(async (signIn, input, request) => {
    await signIn[name](input, request);
    return {};
  });
}

/**
 * Password resets and the verification of email addresses and phone numbers. Written by hand, because tokens are created
 * and sealed, and passwords and codes hashed, outside SQL.
 */
export const AccountRecoveryPlugin = extendSchema(
  () => ({
    typeDefs: gql`
      """The account to reset the password of."""
      input RequestPasswordResetInput {
        """Username or email address."""
        identifier: String!
      }

      """A token from an email and the new password."""
      input ResetPasswordInput {
        """The token from the email: \`plp_…\`."""
        token: String!
        """At least 15 characters; a few unrelated words work well."""
        newPassword: String!
      }

      """A token from an email."""
      input VerifyEmailInput {
        """The token from the email: \`plv_…\`."""
        token: String!
      }

      """The account's new email address."""
      input ChangeEmailInput {
        newEmail: String!
        currentPassword: String!
      }

      """The account's new phone number."""
      input RequestPhoneVerificationInput {
        """The number with its country code, such as +4915112345678."""
        phoneNumber: String!
      }

      """The code from a text message."""
      input VerifyPhoneInput {
        """Eight digits."""
        code: String!
      }

      """An acknowledgement without further data."""
      type AcknowledgedPayload {
        """Always true; failures are errors."""
        ok: Boolean!
        query: Query
      }

      extend type Mutation {
        """
        Emails a single-use link to set a new password, valid for 30 minutes. The response is the same whether or not the
        account exists.
        """
        requestPasswordReset(input: RequestPasswordResetInput!): AcknowledgedPayload
        """
        Sets a new password with the token from an email and ends all sessions, without signing in. Fails with
        BAD_USER_INPUT for an invalid token, and for a rejected password; then the token stays valid.
        """
        resetPassword(input: ResetPasswordInput!): AcknowledgedPayload
        """Emails a single-use link that verifies the account's address, valid for a day."""
        requestEmailVerification: AcknowledgedPayload
        """Verifies an address with the token from an email; a new address becomes the account's. Needs no session."""
        verifyEmail(input: VerifyEmailInput!): AcknowledgedPayload
        """
        Emails a link to a new address, which becomes the account's once the link is opened; the old address is notified.
        Fails with INVALID_CREDENTIALS for a wrong password.
        """
        changeEmail(input: ChangeEmailInput!): AcknowledgedPayload
        """Sends a code to a number, valid for ten minutes and five attempts. UNAVAILABLE if the server cannot send SMS."""
        requestPhoneVerification(input: RequestPhoneVerificationInput!): AcknowledgedPayload
        """Verifies a number with the code sent to it; the number becomes the account's."""
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
