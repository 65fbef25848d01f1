import "graphile-build-pg";
import { constant, context, get, lambda, type Step } from "grafast";
import { extendSchema, gql } from "graphile-utils";
import type {
  FinishProviderInput,
  LinkedProfile,
  StartProviderInput,
} from "../src/accounts/sign-in/provider-flow.ts";
import { serviceField, signInField } from "./credentials-field.ts";

/**
 * Signing in with other providers and linking them, which requires HTTP requests. Unlinking is an SQL function, and the
 * linked accounts are a table; both come from the schema.
 */
export const ProvidersPlugin = extendSchema((build) => {
  const { oauth_profiles: profiles } = build.pgResources;
  if (!profiles) throw new Error("The table identity.oauth_profiles is missing. Migrate the database.");

  return {
    typeDefs: gql`
      """A provider that users can sign in with."""
      type SignInProvider {
        """The name to pass to \`startProviderSignIn\` and \`startProviderLink\`."""
        name: String!
        """A label for a button."""
        label: String!
      }

      input StartProviderSignInInput {
        """The name of one of \`signInProviders\`."""
        provider: String!
        """The URL that the provider redirects the browser to: one of the server's settings; defaults to the first."""
        redirectUri: String
        """Names the session in the list of sessions."""
        deviceName: String
      }

      input StartProviderLinkInput {
        """The name of one of \`signInProviders\`."""
        provider: String!
        """The URL that the provider redirects the browser to: one of the server's settings; defaults to the first."""
        redirectUri: String
      }

      input FinishProviderSignInInput {
        """The token that \`startProviderSignIn\` returned to this client."""
        flowToken: String!
        """The complete URL that the provider redirected the browser to."""
        callbackUrl: String!
      }

      input FinishProviderLinkInput {
        """The token that \`startProviderLink\` returned to this client."""
        flowToken: String!
        """The complete URL that the provider redirected the browser to."""
        callbackUrl: String!
      }

      """A sign-in or link that continues at the provider."""
      type ProviderFlowPayload {
        """The URL to send the browser to."""
        authorizationUrl: String!
        """The token for the finishing mutation. Keep it in the client that started the flow, never in a URL."""
        flowToken: String!
        """Time at which the flow expires."""
        expiresAt: Datetime!
        query: Query
      }

      type FinishProviderLinkPayload {
        """The linked account."""
        oauthProfile: OauthProfile
        query: Query
      }

      extend type Query {
        """The providers that users can sign in with, in the server's order."""
        signInProviders: [SignInProvider!]!
      }

      extend type Mutation {
        """Starts a sign-in with another provider."""
        startProviderSignIn(input: StartProviderSignInInput!): ProviderFlowPayload
        """
        Signs in with the provider's response and creates an account the first time. INVALID_CREDENTIALS for an invalid
        response, a used or expired flow, or an account that may not sign in; FORBIDDEN if the provider denies access or
        this server accepts no new accounts; CONFLICT if an account with the provider's verified address exists (sign in to
        it and link the provider); UNAVAILABLE if the provider does not respond.
        """
        finishProviderSignIn(input: FinishProviderSignInInput!): SignInPayload
        """Starts linking another provider to the signed-in account."""
        startProviderLink(input: StartProviderLinkInput!): ProviderFlowPayload
        """
        Links the provider to the signed-in account, in the session that started the flow. Fails like
        \`finishProviderSignIn\`; CONFLICT if the provider account is linked to another account, or this account is already
        linked to another account of the provider.
        """
        finishProviderLink(input: FinishProviderLinkInput!): FinishProviderLinkPayload
      }
    `,
    objects: {
      Query: {
        plans: {
          signInProviders: () => lambda(context(), ({ plinth }) => plinth.signIn?.providers ?? []),
        },
      },
      Mutation: {
        plans: {
          startProviderSignIn: serviceField((signIn, input: StartProviderInput, request) =>
            signIn.startProviderSignIn(input, request),
          ),
          finishProviderSignIn: signInField<FinishProviderInput>((signIn, input, request) =>
            signIn.finishProviderSignIn(input, request),
          ),
          startProviderLink: serviceField((signIn, input: StartProviderInput, request) =>
            signIn.startProviderLink(input, request),
          ),
          finishProviderLink: serviceField((signIn, input: FinishProviderInput, request) =>
            signIn.finishProviderLink(input, request),
          ),
        },
      },
      ProviderFlowPayload: { plans: { query: () => constant({}) } },
      FinishProviderLinkPayload: {
        plans: {
          oauthProfile: ($linked: Step<LinkedProfile>) => profiles.get({ id: get($linked, "profileId") }),
          query: () => constant({}),
        },
      },
    },
  };
}, "PlinthProvidersPlugin");
