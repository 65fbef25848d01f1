import "postgraphile";
import { constant, get } from "postgraphile/grafast";
import { extendSchema, gql } from "postgraphile/utils";
import type { SignIn } from "../src/accounts/sign-in/index.ts";
import {
  type CredentialsStep,
  credentialsField,
  type SignInResultStep,
  signInField,
} from "./credentials-field.ts";

/**
 * register, login, refresh and changePassword: hashing and signing are not SQL's to do, so these are written by hand.
 * Signing out and the current user are SQL functions and come from the schema.
 */
export const AuthPlugin = extendSchema((build) => {
  const { users } = build.pgResources;
  if (!users) throw new Error("The table identity.users is missing; has the database been migrated?");

  const payloadPlans = {
    user: ($credentials: CredentialsStep) => users.get({ id: get($credentials, "userId") }),
    query: () => constant({}),
  };

  const credentialsOf = ($result: SignInResultStep) => get($result, "credentials");

  return {
    typeDefs: gql`
      """What to register with."""
      input RegisterInput {
        """2 to 100 letters, digits, dots, underscores or hyphens; stored in lower case."""
        username: String!
        email: String
        """Name shown to others."""
        displayName: String
        """At least 15 characters; a few unrelated words are good."""
        password: String!
        """Names the session in the list of sessions."""
        deviceName: String
      }

      """What to sign in with."""
      input LoginInput {
        """Username or e-mail address."""
        identifier: String!
        password: String!
        """Names the session in the list of sessions."""
        deviceName: String
      }

      input RefreshInput {
        refreshToken: String!
      }

      input ChangePasswordInput {
        currentPassword: String!
        """At least 15 characters; a few unrelated words are good."""
        newPassword: String!
        """Whether all other devices are signed out; if not, they stay signed in, access tokens and all."""
        endOtherSessions: Boolean = true
      }

      """A signed-in session: send the access token as \`Authorization: Bearer …\`."""
      type AuthPayload {
        accessToken: String!
        accessTokenExpiresAt: Datetime!
        """Exchange it for new tokens with \`refresh\`; it works once."""
        refreshToken: String!
        refreshTokenExpiresAt: Datetime!
        """The signed-in account."""
        user: User
        query: Query
      }

      """A sign-in that is complete, or one that wants a second factor."""
      type SignInPayload {
        """Null when \`challenge\` is not; so are the other tokens."""
        accessToken: String
        accessTokenExpiresAt: Datetime
        """Exchange it for new tokens with \`refresh\`; it works once."""
        refreshToken: String
        refreshTokenExpiresAt: Datetime
        """The signed-in account."""
        user: User
        """What is still to be shown; null when signed in."""
        challenge: SignInChallenge
        query: Query
      }

      """A sign-in that wants a second factor. Its token opens nothing but the way on."""
      type SignInChallenge {
        token: String!
        expiresAt: Datetime!
        """What may be shown next: \`totp\`, \`recovery_code\`, \`passkey\`."""
        methods: [String!]!
      }

      extend type Mutation {
        """Makes an account and signs in."""
        register(input: RegisterInput!): AuthPayload
        """Signs in. Fails with INVALID_CREDENTIALS, whatever the reason."""
        login(input: LoginInput!): SignInPayload
        """
        Exchanges a refresh token for new tokens. Asking again with the same token, because the answer was lost, gives
        the same tokens for a minute; any later use ends the session.
        """
        refresh(input: RefreshInput!): AuthPayload
        """Sets a new password and ends every other session, unless told not to. Fails with INVALID_CREDENTIALS for a wrong current password."""
        changePassword(input: ChangePasswordInput!): AuthPayload
      }
    `,
    objects: {
      Mutation: {
        plans: {
          register: credentialsField<Parameters<SignIn["register"]>[0]>((signIn, input, request) =>
            signIn.register(input, request),
          ),
          login: signInField<Parameters<SignIn["login"]>[0]>((signIn, input, request) =>
            signIn.login(input, request),
          ),
          refresh: credentialsField<{ refreshToken: string }>((signIn, { refreshToken }, request) =>
            signIn.refresh(refreshToken, request),
          ),
          changePassword: credentialsField<Parameters<SignIn["changePassword"]>[0]>(
            (signIn, input, request) => signIn.changePassword(input, request),
          ),
        },
      },
      AuthPayload: { plans: payloadPlans },
      SignInPayload: {
        plans: {
          accessToken: ($result: SignInResultStep) => get(credentialsOf($result), "accessToken"),
          accessTokenExpiresAt: ($result: SignInResultStep) =>
            get(credentialsOf($result), "accessTokenExpiresAt"),
          refreshToken: ($result: SignInResultStep) => get(credentialsOf($result), "refreshToken"),
          refreshTokenExpiresAt: ($result: SignInResultStep) =>
            get(credentialsOf($result), "refreshTokenExpiresAt"),
          user: ($result: SignInResultStep) => users.get({ id: get(credentialsOf($result), "userId") }),
          query: () => constant({}),
        },
      },
    },
  };
}, "PlinthAuthPlugin");
