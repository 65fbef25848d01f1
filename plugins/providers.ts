import "postgraphile";
import { constant, context, get, lambda, type Step } from "postgraphile/grafast";
import { extendSchema, gql } from "postgraphile/utils";
import type {
  FinishProviderInput,
  LinkedProfile,
  StartProviderInput,
} from "../src/accounts/sign-in/provider-flow.ts";
import { serviceField, signInField } from "./credentials-field.ts";

/**
 * Signing in with other providers and linking them: asking a provider is not SQL's to do. Unlinking is an SQL function, and
 * the linked accounts are a table; both come from the schema.
 */
export const ProvidersPlugin = extendSchema((build) => {
  const { oauth_profiles: profiles } = build.pgResources;
  if (!profiles)
    throw new Error("The table identity.oauth_profiles is missing; has the database been migrated?");

  return {
    typeDefs: gql`
      """Another provider that people may sign in with."""
      type SignInProvider {
        """What \`startProviderSignIn\` and \`startProviderLink\` take."""
        name: String!
        """What a button may say."""
        label: String!
      }

      input StartProviderSignInInput {
        """The name of one of \`signInProviders\`."""
        provider: String!
        """Where the provider sends the browser back to: one of those in the server's settings; the first if left out."""
        redirectUri: String
        """Names the session in the list of sessions."""
        deviceName: String
      }

      input StartProviderLinkInput {
        """The name of one of \`signInProviders\`."""
        provider: String!
        """Where the provider sends the browser back to: one of those in the server's settings; the first if left out."""
        redirectUri: String
      }

      input FinishProviderSignInInput {
        """What \`startProviderSignIn\` gave to this client."""
        flowToken: String!
        """The whole address that the browser came back to."""
        callbackUrl: String!
      }

      input FinishProviderLinkInput {
        """What \`startProviderLink\` gave to this client."""
        flowToken: String!
        """The whole address that the browser came back to."""
        callbackUrl: String!
      }

      """A sign-in or link that goes on at the provider."""
      type ProviderFlowPayload {
        """Send the browser there."""
        authorizationUrl: String!
        """Keep it in the client that began, never in an address; the finishing mutation wants it."""
        flowToken: String!
        """Finish before."""
        expiresAt: Datetime!
        query: Query
      }

      type FinishProviderLinkPayload {
        """What is linked now."""
        oauthProfile: OauthProfile
        query: Query
      }

      extend type Query {
        """The providers that people may sign in with, in the server's order."""
        signInProviders: [SignInProvider!]!
      }

      extend type Mutation {
        """Begins to sign in with another provider."""
        startProviderSignIn(input: StartProviderSignInInput!): ProviderFlowPayload
        """
        Signs in with what the provider answered, making an account the first time. INVALID_CREDENTIALS for an answer that does
        not hold, a flow that was used or expired, or an account that may not sign in; FORBIDDEN if the provider, or this
        server for strangers, says no; CONFLICT if an account with the provider's verified address exists: sign in to it and
        link; UNAVAILABLE if the provider does not answer.
        """
        finishProviderSignIn(input: FinishProviderSignInInput!): SignInPayload
        """Begins to link another provider to the signed-in account."""
        startProviderLink(input: StartProviderLinkInput!): ProviderFlowPayload
        """
        Links the provider to the signed-in account, in the session that began. Fails as \`finishProviderSignIn\` does; CONFLICT
        if the account at the provider is linked elsewhere or another one of that provider is linked here.
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
