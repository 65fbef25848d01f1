import "graphile-build-pg";
import { constant, get } from "grafast";
import { extendSchema, gql } from "graphile-utils";
import type { SignIn } from "../src/accounts/sign-in/index.ts";
import {
  type CredentialsStep,
  credentialsField,
  type SignInResultStep,
  signInField,
} from "./credentials-field.ts";

/**
 * register, login, refresh and changePassword: written by hand, because SQL neither hashes passwords nor signs tokens.
 * Sign-out and the current user are SQL functions and come from the schema.
 */
export const AuthPlugin = extendSchema((build) => {
  const { users } = build.pgResources;
  if (!users) throw new Error("The table identity.users is missing. Migrate the database.");

  const payloadPlans = {
    user: ($credentials: CredentialsStep) => users.get({ id: get($credentials, "userId") }),
    query: () => constant({}),
  };

  const credentialsOf = ($result: SignInResultStep) => get($result, "credentials");

  return {
    typeDefs: gql`
      """The new account's data."""
      input RegisterInput {
        """2 to 100 letters, digits, dots, underscores or hyphens; stored in lowercase."""
        username: String!
        email: String
        """Name shown to other users."""
        displayName: String
        """At least 15 characters; a few unrelated words work well."""
        password: String!
        """Names the session in the list of sessions."""
        deviceName: String
      }

      """The credentials to sign in with."""
      input LoginInput {
        """Username or email address."""
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
        """At least 15 characters; a few unrelated words work well."""
        newPassword: String!
        """Whether to sign out all other devices; if false, their sessions and access tokens stay valid."""
        endOtherSessions: Boolean = true
      }

      """A signed-in session: send the access token as \`Authorization: Bearer …\`."""
      type AuthPayload {
        accessToken: String!
        accessTokenExpiresAt: Datetime!
        """Exchange it for new tokens with \`refresh\`; single use."""
        refreshToken: String!
        refreshTokenExpiresAt: Datetime!
        """The signed-in account."""
        user: User
        query: Query
      }

      """A completed sign-in, or one that requires a second factor."""
      type SignInPayload {
        """Null, like the other tokens, when \`challenge\` is set."""
        accessToken: String
        accessTokenExpiresAt: Datetime
        """Exchange it for new tokens with \`refresh\`; single use."""
        refreshToken: String
        refreshTokenExpiresAt: Datetime
        """The signed-in account."""
        user: User
        """The second factor still required; null when signed in."""
        challenge: SignInChallenge
        query: Query
      }

      """A sign-in that requires a second factor. Its token only serves to complete the sign-in."""
      type SignInChallenge {
        token: String!
        expiresAt: Datetime!
        """The accepted factors."""
        methods: [SecondFactorMethod!]!
      }

      """A way to prove a second factor."""
      enum SecondFactorMethod {
        """A code of an authenticator app."""
        totp
        """A recovery code."""
        recovery_code
        """A passkey."""
        passkey
      }

      extend type Mutation {
        """Creates an account and signs in."""
        register(input: RegisterInput!): AuthPayload
        """Signs in. Fails with INVALID_CREDENTIALS for any reason."""
        login(input: LoginInput!): SignInPayload
        """
        Exchanges a refresh token for new tokens. A retry with the same token, after a lost response, returns the same
        tokens for a minute; any later use ends the session.
        """
        refresh(input: RefreshInput!): AuthPayload
        """Sets a new password and ends every other session unless \`endOtherSessions\` is false. Fails with INVALID_CREDENTIALS for a wrong current password."""
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
