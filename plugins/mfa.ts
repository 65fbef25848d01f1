import "graphile-build-pg";
import { constant, get, type Step } from "grafast";
import { extendSchema, gql } from "graphile-utils";
import type { SignIn } from "../src/accounts/sign-in/index.ts";
import { credentialsField, serviceField, serviceFieldWithoutInput } from "./credentials-field.ts";

type Input<Name extends "startTotp" | "confirmTotp" | "finishPasskeyRegistration" | "completeSignIn"> =
  Parameters<SignIn[Name]>[0];

/**
 * Enrolling second factors, and signing in and reauthenticating with them: sealed secrets are opened and passkey signatures
 * verified outside SQL. Listing, naming and removing factors are SQL and come from the schema.
 */
export const MfaPlugin = extendSchema((build) => {
  const { mfa_factors: factors } = build.pgResources;
  if (!factors) throw new Error("The table identity.mfa_factors is missing. Migrate the database.");

  const query = () => constant({});
  const addedFactorPlans = {
    factor: ($added: Step<{ factorId: string }>) => factors.get({ id: get($added, "factorId") }),
    query,
  };

  return {
    typeDefs: gql`
      input StartTotpInput {
        """Names the authenticator app in the list of factors."""
        name: String
      }

      """A pending authenticator app; it becomes active when \`confirmTotp\` receives a code from it."""
      type StartTotpPayload {
        factorId: UUID!
        """For manual entry where the app cannot scan a QR code. Shown only once."""
        secret: String!
        """An \`otpauth://…\` URI to show as a QR code."""
        uri: String!
        query: Query
      }

      input ConfirmTotpInput {
        factorId: UUID!
        """The six digits that the app shows now."""
        code: String!
      }

      """An active second factor."""
      type AddFactorPayload {
        factor: MfaFactor
        """With the account's first factor: ten codes for use without the device. Shown only once."""
        recoveryCodes: [String!]
        query: Query
      }

      input StartPasskeyRegistrationInput {
        """Whether to request a passkey that can sign in alone: stored on the device, unlocked by PIN or biometrics."""
        passwordless: Boolean
      }

      """The options for the browser's passkey request."""
      type PasskeyOptionsPayload {
        """For \`PublicKeyCredential.parseCreationOptionsFromJSON\` or \`parseRequestOptionsFromJSON\`."""
        options: JSON!
        query: Query
      }

      input FinishPasskeyRegistrationInput {
        """The browser's answer, \`credential.toJSON()\`."""
        response: JSON!
        """Names the passkey in the list of factors."""
        name: String
      }

      input StartPasskeySignInInput {
        """The token of the challenge to answer; if omitted, the passkey signs in alone."""
        challengeToken: String
      }

      input FinishPasskeySignInInput {
        """The browser's answer, \`credential.toJSON()\`."""
        response: JSON!
        """Names the session in the list of sessions."""
        deviceName: String
      }

      """The token and exactly one of \`code\`, \`recoveryCode\` and \`passkeyResponse\`."""
      input CompleteSignInInput {
        """\`challenge.token\` of the sign-in."""
        challengeToken: String!
        """The six digits of the authenticator app."""
        code: String
        """A recovery code; single use."""
        recoveryCode: String
        """The browser's answer to \`startPasskeySignIn\`, \`credential.toJSON()\`."""
        passkeyResponse: JSON
        """Names the session in the list of sessions; defaults to the name given at \`login\`."""
        deviceName: String
      }

      """Exactly one field; not the password if the account has a second factor."""
      input ReauthenticateInput {
        password: String
        """The six digits of the authenticator app."""
        code: String
        """A recovery code; single use."""
        recoveryCode: String
        """The browser's answer to \`startPasskeyReauthentication\`, \`credential.toJSON()\`."""
        passkeyResponse: JSON
      }

      type ReauthenticatePayload {
        """Time of the confirmation; sensitive changes are allowed for ten minutes from then."""
        authenticatedAt: Datetime!
        query: Query
      }

      type RegenerateRecoveryCodesPayload {
        """Ten new codes, which replace the previous ones. Shown only once."""
        recoveryCodes: [String!]!
        query: Query
      }

      extend type Mutation {
        """Starts enrolling an authenticator app (TOTP). Requires a recent sign-in."""
        startTotp(input: StartTotpInput!): StartTotpPayload
        """Completes the enrolment with a code. Requires a recent sign-in; from then on sign-ins require a second factor."""
        confirmTotp(input: ConfirmTotpInput!): AddFactorPayload
        """Starts adding a passkey. Requires a recent sign-in."""
        startPasskeyRegistration(input: StartPasskeyRegistrationInput!): PasskeyOptionsPayload
        """Completes adding the passkey with the browser's answer; from then on sign-ins require a second factor."""
        finishPasskeyRegistration(input: FinishPasskeyRegistrationInput!): AddFactorPayload
        """Starts a sign-in with a passkey, alone or as second factor of a challenge."""
        startPasskeySignIn(input: StartPasskeySignInInput!): PasskeyOptionsPayload
        """Signs in with only a passkey. Fails with INVALID_CREDENTIALS for any reason."""
        finishPasskeySignIn(input: FinishPasskeySignInInput!): AuthPayload
        """Completes a sign-in that requires a second factor. Fails with INVALID_CREDENTIALS for any reason."""
        completeSignIn(input: CompleteSignInInput!): AuthPayload
        """Starts a reauthentication with a passkey."""
        startPasskeyReauthentication: PasskeyOptionsPayload
        """Confirms the caller's identity, which sensitive changes require. Fails with INVALID_CREDENTIALS."""
        reauthenticate(input: ReauthenticateInput!): ReauthenticatePayload
        """Replaces the recovery codes. Requires a recent sign-in and a second factor."""
        regenerateRecoveryCodes: RegenerateRecoveryCodesPayload
      }
    `,
    objects: {
      Mutation: {
        plans: {
          startTotp: serviceField<Input<"startTotp">, object>((signIn, input, request) =>
            signIn.startTotp(input, request),
          ),
          confirmTotp: serviceField<Input<"confirmTotp">, object>((signIn, input, request) =>
            signIn.confirmTotp(input, request),
          ),
          startPasskeyRegistration: serviceField<Parameters<SignIn["startPasskeyRegistration"]>[0], object>(
            (signIn, input, request) => signIn.startPasskeyRegistration(input, request),
          ),
          finishPasskeyRegistration: serviceField<Input<"finishPasskeyRegistration">, object>(
            (signIn, input, request) => signIn.finishPasskeyRegistration(input, request),
          ),
          startPasskeySignIn: serviceField<Parameters<SignIn["startPasskeySignIn"]>[0], object>(
            (signIn, input, request) => signIn.startPasskeySignIn(input, request),
          ),
          finishPasskeySignIn: credentialsField<Parameters<SignIn["finishPasskeySignIn"]>[0]>(
            (signIn, input, request) => signIn.finishPasskeySignIn(input, request),
          ),
          completeSignIn: credentialsField<Input<"completeSignIn">>((signIn, input, request) =>
            signIn.completeSignIn(input, request),
          ),
          startPasskeyReauthentication: serviceFieldWithoutInput((signIn, request) =>
            signIn.startPasskeyReauthentication(request),
          ),
          reauthenticate: serviceField<Parameters<SignIn["reauthenticate"]>[0], object>(
            (signIn, input, request) => signIn.reauthenticate(input, request),
          ),
          regenerateRecoveryCodes: serviceFieldWithoutInput((signIn, request) =>
            signIn.regenerateRecoveryCodes(request),
          ),
        },
      },
      StartTotpPayload: { plans: { query } },
      AddFactorPayload: { plans: addedFactorPlans },
      PasskeyOptionsPayload: { plans: { query } },
      ReauthenticatePayload: { plans: { query } },
      RegenerateRecoveryCodesPayload: { plans: { query } },
    },
  };
}, "PlinthMfaPlugin");
