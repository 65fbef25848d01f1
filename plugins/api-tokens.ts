import "postgraphile";
import { constant, get, type Step } from "postgraphile/grafast";
import { extendSchema, gql } from "postgraphile/utils";
import type { CreateApiTokenInput, CreatedApiToken } from "../src/accounts/sign-in/create-api-token.ts";
import { serviceField } from "./credentials-field.ts";

/** createApiToken: the token is made outside the database, which never sees it. All else about tokens is SQL. */
export const ApiTokensPlugin = extendSchema((build) => {
  const tokens = build.pgResources.api_tokens;
  if (!tokens) throw new Error("The table identity.api_tokens is missing; has the database been migrated?");

  return {
    typeDefs: gql`
      input CreateApiTokenInput {
        """What you call it, 1 to 100 characters."""
        name: String!
        """\`read\`, or \`read\` and \`write\`. Without \`write\` nothing can be changed with it."""
        scopes: [String!]!
        """From then on it is refused: 90 days from now when left out, 366 days at most."""
        expiresAt: Datetime
      }

      type CreateApiTokenPayload {
        """Send it as \`Authorization: Bearer …\`. It is shown this once: only a hash is kept."""
        token: String!
        apiToken: ApiToken
        query: Query
      }

      extend type Mutation {
        """
        Makes a token with which a program acts as the signed-in user. Needs a sign-in of the last ten minutes (FORBIDDEN
        otherwise); fails with QUOTA_EXCEEDED when there are 50 live ones.
        """
        createApiToken(input: CreateApiTokenInput!): CreateApiTokenPayload
      }
    `,
    objects: {
      Mutation: {
        plans: {
          createApiToken: serviceField<CreateApiTokenInput, CreatedApiToken>((signIn, input, request) =>
            signIn.createApiToken(input, request),
          ),
        },
      },
      CreateApiTokenPayload: {
        plans: {
          apiToken: ($created: Step<CreatedApiToken>) => tokens.get({ id: get($created, "id") }),
          query: () => constant({}),
        },
      },
    },
  };
}, "PlinthApiTokensPlugin");
