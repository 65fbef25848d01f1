import "postgraphile";
import { constant, get, type Step } from "postgraphile/grafast";
import { extendSchema, gql } from "postgraphile/utils";
import type { SignIn } from "../src/accounts/sign-in/index.ts";
import { credentialsField, serviceField, serviceFieldWithoutInput } from "./credentials-field.ts";

type Input<Name extends "startTotp" | "confirmTotp" | "finishPasskeyRegistration" | "completeSignIn"> =
  Parameters<SignIn[Name]>[0];

/**
 * Enrolling second factors, and signing in and confirming with them: sealed secrets and passkeys' signatures are not
 * SQL's to open and check. Listing, naming and removing factors are SQL and come from the schema.
 */
export const MfaPlugin = extendSchema((build) => {
  const { mfa_factors: factors } = build.pgResources;
  if (!factors) throw new Error("The table identity.mfa_factors is missing; has the database been migrated?");

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

      """An authenticator app to be; it counts once \`confirmTotp\` has seen a code of it."""
      type StartTotpPayload {
        factorId: UUID!
        """To type into the app where no QR code can be read. Shown this once."""
        secret: String!
        """\`otpauth://…\`, to show as a QR code."""
        uri: String!
        query: Query
      }

      input ConfirmTotpInput {
        factorId: UUID!
        """The six digits that the app shows now."""
        code: String!
      }

      """A second factor that counts from now on."""
      type AddFactorPayload {
        factor: MfaFactor
        """With an account's first factor: ten codes for when the devices are gone. Shown this once."""
        recoveryCodes: [String!]
        query: Query
      }

      input StartPasskeyRegistrationInput {
        """Ask for a passkey that can sign in alone: stored on the device, unlocked by PIN or body."""
        passwordless: Boolean
      }

      """What the browser is to be asked."""
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
        """Of the challenge that the passkey is to answer; without it the passkey is all there is."""
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
        """One of the recovery codes; it works once."""
        recoveryCode: String
        """The browser's answer to \`startPasskeySignIn\`, \`credential.toJSON()\`."""
        passkeyResponse: JSON
        """Names the session in the list of sessions; else the name given at \`login\` does."""
        deviceName: String
      }

      """Exactly one; with a second factor, not the password."""
      input ReauthenticateInput {
        password: String
        """The six digits of the authenticator app."""
        code: String
        """One of the recovery codes; it works once."""
        recoveryCode: String
        """The browser's answer to \`startPasskeyReauthentication\`, \`credential.toJSON()\`."""
        passkeyResponse: JSON
      }

      type ReauthenticatePayload {
        """Sensitive changes are open for ten minutes from then."""
        authenticatedAt: Datetime!
        query: Query
      }

      type RegenerateRecoveryCodesPayload {
        """Ten new codes; those of before are dead. Shown this once."""
        recoveryCodes: [String!]!
        query: Query
      }

      extend type Mutation {
        """Begins to enrol an authenticator app (TOTP). Needs a recent sign-in."""
        startTotp(input: StartTotpInput!): StartTotpPayload
        """Ends it with a code. Needs a recent sign-in; from then on sign-ins ask for a second factor."""
        confirmTotp(input: ConfirmTotpInput!): AddFactorPayload
        """Begins to add a passkey. Needs a recent sign-in."""
        startPasskeyRegistration(input: StartPasskeyRegistrationInput!): PasskeyOptionsPayload
        """Ends it with the browser's answer; from then on sign-ins ask for a second factor."""
        finishPasskeyRegistration(input: FinishPasskeyRegistrationInput!): AddFactorPayload
        """Begins a sign-in with a passkey: alone, or as second factor of a challenge."""
        startPasskeySignIn(input: StartPasskeySignInInput!): PasskeyOptionsPayload
        """Signs in with nothing but a passkey. Fails with INVALID_CREDENTIALS, whatever the reason."""
        finishPasskeySignIn(input: FinishPasskeySignInInput!): AuthPayload
        """Ends a sign-in that wants a second factor. Fails with INVALID_CREDENTIALS, whatever the reason."""
        completeSignIn(input: CompleteSignInInput!): AuthPayload
        """Begins to confirm with a passkey that it is you."""
        startPasskeyReauthentication: PasskeyOptionsPayload
        """Confirms that it is you, which sensitive changes ask for. Fails with INVALID_CREDENTIALS."""
        reauthenticate(input: ReauthenticateInput!): ReauthenticatePayload
        """New recovery codes in place of the old. Needs a recent sign-in and a second factor."""
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
