import "postgraphile";
import { constant, context, get, lambda, type Step } from "postgraphile/grafast";
import { extendSchema, gql } from "postgraphile/utils";
import type {
  ConversationMemories,
  ConversationMemory,
  SetMemoryInput,
} from "../src/accounts/conversation-memory/conversation-memories.ts";
import { refuseReadOnlyToken } from "../src/auth/api-token.ts";
import { PlinthError } from "../src/support/errors.ts";
import { mutationField, mutationFieldWithoutInput } from "./mutation-field.ts";

/**
 * The user's encrypted memory: only the server has the keys, so its fields are written by hand and the table is not in the
 * schema.
 */
export const ConversationMemoryPlugin = extendSchema(
  () => ({
    typeDefs: gql`
      """What an assistant remembers of the signed-in user, kept encrypted under a key of the user's own."""
      type ConversationMemory {
        """Any JSON value."""
        memory: JSON!
        """Another one after each change; hand it to \`setConversationMemory\`."""
        version: String!
        createdAt: Datetime!
        updatedAt: Datetime!
      }

      input SetConversationMemoryInput {
        """Any JSON value, at most 262144 bytes as text. Replaces what was there."""
        memory: JSON!
        """
        Change it only if it is still this version, or only if there is none ("0"); CONFLICT otherwise. Without it the last
        writer wins.
        """
        expectedVersion: String
      }

      type SetConversationMemoryPayload {
        conversationMemory: ConversationMemory!
        query: Query
      }

      type DeleteConversationMemoryPayload {
        """Whether there was anything to delete."""
        wasDeleted: Boolean!
        query: Query
      }

      extend type Query {
        """The signed-in user's memory; null when there is none."""
        conversationMemory: ConversationMemory
      }

      extend type Mutation {
        """Keeps a memory in place of the one there was."""
        setConversationMemory(input: SetConversationMemoryInput!): SetConversationMemoryPayload
        """
        Deletes the memory and destroys the key it was encrypted under, so that no copy of it can ever be read.
        """
        deleteConversationMemory: DeleteConversationMemoryPayload
      }
    `,
    objects: {
      Query: {
        plans: {
          conversationMemory: () =>
            lambda(context(), (value) => memoriesOf(value).find(value.plinth.request)),
        },
      },
      Mutation: {
        plans: {
          setConversationMemory: mutationField(async (input: SetMemoryInput, context) => {
            refuseReadOnlyToken(context.plinth.request.claims);
            return memoriesOf(context).set(input, context.plinth.request);
          }),
          deleteConversationMemory: mutationFieldWithoutInput(async (context) => {
            refuseReadOnlyToken(context.plinth.request.claims);
            return { wasDeleted: await memoriesOf(context).delete(context.plinth.request) };
          }),
        },
      },
      SetConversationMemoryPayload: {
        plans: {
          conversationMemory: ($memory: Step<ConversationMemory>) => $memory,
          query: () => constant({}),
        },
      },
      DeleteConversationMemoryPayload: {
        plans: {
          wasDeleted: ($deleted: Step<{ wasDeleted: boolean }>) => get($deleted, "wasDeleted"),
          query: () => constant({}),
        },
      },
    },
  }),
  "PlinthConversationMemoryPlugin",
);

function memoriesOf({ plinth }: Grafast.Context): ConversationMemories {
  if (!plinth.memories) throw new PlinthError("UNAVAILABLE", "This server cannot read memories.");
  return plinth.memories;
}
