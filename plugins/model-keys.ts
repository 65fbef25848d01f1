import "graphile-build-pg";
import { constant, get, type Step } from "grafast";
import { extendSchema, gql } from "graphile-utils";
import type { KeyChange, ModelKeys } from "../src/accounts/model-keys.ts";
import { refuseReadOnlyToken } from "../src/auth/api-token.ts";
import { PlinthError } from "../src/support/errors.ts";
import { mutationField } from "./mutation-field.ts";

const payload = {
  plans: {
    hasKey: ($change: Step<KeyChange>) => get($change, "hasKey"),
    query: () => constant({}),
  },
};

/** Keys of model providers, which are sealed outside SQL. */
export const ModelKeysPlugin = extendSchema(
  () => ({
    typeDefs: gql`
      input SetModelProviderKeyInput {
        """The provider."""
        providerId: UUID!
        """The API key; null deletes the stored one. It is encrypted and can never be read."""
        key: String
      }

      type SetModelProviderKeyPayload {
        """Whether a key is stored now."""
        hasKey: Boolean!
        query: Query
      }

      input SetOwnModelKeyInput {
        """The API key; null deletes the stored one. It is encrypted and can never be read."""
        key: String
      }

      type SetOwnModelKeyPayload {
        """Whether a key is stored now."""
        hasKey: Boolean!
        query: Query
      }

      extend type Mutation {
        """
        Stores the API key of a model provider, for users with \`manage_models\`; NOT_FOUND for others. A change of the
        provider's \`apiUrl\` deletes the key.
        """
        setModelProviderKey(input: SetModelProviderKeyInput!): SetModelProviderKeyPayload
        """
        Stores the API key for \`llmEndpoint\` of the signed-in user's settings. FORBIDDEN without \`use_own_model\`. A
        change of the endpoint deletes the key.
        """
        setOwnModelKey(input: SetOwnModelKeyInput!): SetOwnModelKeyPayload
      }
    `,
    objects: {
      Mutation: {
        plans: {
          setModelProviderKey: mutationField(
            async (input: { providerId: string; key?: string | null }, context) => {
              refuseReadOnlyToken(context.plinth.request.claims);
              return keysOf(context).setOfProvider(input, context.plinth.request);
            },
          ),
          setOwnModelKey: mutationField(async (input: { key?: string | null }, context) => {
            refuseReadOnlyToken(context.plinth.request.claims);
            return keysOf(context).setOwn(input, context.plinth.request);
          }),
        },
      },
      SetModelProviderKeyPayload: payload,
      SetOwnModelKeyPayload: payload,
    },
  }),
  "PlinthModelKeysPlugin",
);

function keysOf({ plinth }: Grafast.Context): ModelKeys {
  if (!plinth.modelKeys)
    throw new PlinthError("UNAVAILABLE", "Keys of models are not configured on this server.");
  return plinth.modelKeys;
}
