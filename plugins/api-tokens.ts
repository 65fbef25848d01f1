import "graphile-build-pg";
import { constant, get, type Step } from "grafast";
import { extendSchema, gql } from "graphile-utils";
import type { CreateApiTokenInput, CreatedApiToken } from "../src/accounts/sign-in/create-api-token.ts";
import { serviceField } from "./credentials-field.ts";

/** createApiToken: the token is created outside the database, which never sees it. Everything else about tokens is SQL. */
export const ApiTokensPlugin = extendSchema((build) => {
  const tokens = build.pgResources.api_tokens;
  if (!tokens) throw new Error("The table identity.api_tokens is missing. Migrate the database.");

  return {
    typeDefs: gql`
      input CreateApiTokenInput {
        """A name for the token, 1 to 100 characters."""
        name: String!
        """\`read\`, or \`read\` and \`write\`. A token without \`write\` is read-only."""
        scopes: [ApiTokenScope!]!
        """Time of expiry: 90 days from now by default, at most 366 days."""
        expiresAt: Datetime
      }

      type CreateApiTokenPayload {
        """Send it as \`Authorization: Bearer …\`. It is shown only once, because only a hash is stored."""
        token: String!
        apiToken: ApiToken
        query: Query
      }

      extend type Mutation {
        """
        Creates a token with which a program acts as the signed-in user. Requires a sign-in within the last ten minutes
        (FORBIDDEN otherwise). Fails with QUOTA_EXCEEDED at 50 active tokens.
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
