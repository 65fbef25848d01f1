import "postgraphile";
import { constant, context, get, type Step, sideEffect } from "postgraphile/grafast";
import { extendSchema, gql } from "postgraphile/utils";
import { PlinthError } from "../src/errors.ts";
import type { RequestContext } from "../src/server/request-context.ts";
import type { Credentials, SignIn } from "../src/server/sign-in.ts";

/** What a payload's fields read. */
type CredentialsStep = Step<Credentials>;

/**
 * register, login, refresh and changePassword: hashing and signing are not SQL's to do, so these are written by hand.
 * Signing out and the current user are SQL functions and come from the schema.
 */
export const AuthPlugin = extendSchema((build) => {
  const { users } = build.pgResources;
  if (!users) throw new Error("The table identity.users is missing; has the database been migrated?");

  /** A field that exchanges its input for credentials. */
  function credentialsField<TInput>(
    exchange: (signIn: SignIn, input: TInput, request: RequestContext) => Promise<Credentials>,
  ) {
    return (_$root: Step, args: { getRaw(path: string): Step }): CredentialsStep =>
      // A side effect of its own and not one with a database client: that would hold a transaction while hashing.
      sideEffect([args.getRaw("input"), context()], async ([input, { plinth, pgSettings }]) => {
        if (!plinth.signIn) throw new PlinthError("UNAVAILABLE", "This server cannot sign anybody in.");
        const credentials = await exchange(plinth.signIn, input as TInput, plinth.request);
        // The payload and what follows in this operation are read as the account that has just signed in.
        Object.assign(pgSettings as object, plinth.settingsOf(credentials));
        return credentials;
      });
  }

  const payloadPlans = {
    user: ($credentials: CredentialsStep) => users.get({ id: get($credentials, "userId") }),
    query: () => constant({}),
  };

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

      extend type Mutation {
        """Makes an account and signs in."""
        register(input: RegisterInput!): AuthPayload
        """Signs in. Fails with INVALID_CREDENTIALS, whatever the reason."""
        login(input: LoginInput!): AuthPayload
        """
        Exchanges a refresh token for new tokens. Asking again with the same token, because the answer was lost, gives
        the same tokens for a minute; any later use ends the session.
        """
        refresh(input: RefreshInput!): AuthPayload
        """Sets a new password and ends every other session. Fails with INVALID_CREDENTIALS for a wrong current password."""
        changePassword(input: ChangePasswordInput!): AuthPayload
      }
    `,
    objects: {
      Mutation: {
        plans: {
          register: credentialsField<Parameters<SignIn["register"]>[0]>((signIn, input, request) =>
            signIn.register(input, request),
          ),
          login: credentialsField<Parameters<SignIn["login"]>[0]>((signIn, input, request) =>
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
    },
  };
}, "PlinthAuthPlugin");
