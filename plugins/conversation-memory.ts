import "graphile-build-pg";
import { constant, context, get, lambda, type Step } from "grafast";
import { extendSchema, gql } from "graphile-utils";
import type {
  ConversationMemories,
  ConversationMemory,
  SetMemoryInput,
} from "../src/accounts/conversation-memory/conversation-memories.ts";
import { refuseReadOnlyToken } from "../src/auth/api-token.ts";
import { PlinthError } from "../src/support/errors.ts";
import { mutationField, mutationFieldWithoutInput } from "./mutation-field.ts";

/**
 * The user's encrypted memory. Only the server has the keys, so its fields are written by hand and the table is not in
 * the schema.
 */
export const ConversationMemoryPlugin = extendSchema(
  () => ({
    typeDefs: gql`
      """An assistant's memory of the signed-in user, encrypted with the user's own key."""
      type ConversationMemory {
        """Any JSON value."""
        memory: JSON!
        """A version that differs after each change; pass it to \`setConversationMemory\`."""
        version: String!
        createdAt: Datetime!
        updatedAt: Datetime!
      }

      input SetConversationMemoryInput {
        """Any JSON value, at most 262144 bytes as text. Replaces the stored value."""
        memory: JSON!
        """
        Write only if the memory still has this version, or does not exist ("0"); CONFLICT otherwise. If omitted, the last
        write wins.
        """
        expectedVersion: String
      }

      type SetConversationMemoryPayload {
        conversationMemory: ConversationMemory!
        query: Query
      }

      type DeleteConversationMemoryPayload {
        """Whether a memory was deleted."""
        wasDeleted: Boolean!
        query: Query
      }

      extend type Query {
        """The signed-in user's memory; null if none is stored."""
        conversationMemory: ConversationMemory
      }

      extend type Mutation {
        """Stores a memory and replaces the previous one."""
        setConversationMemory(input: SetConversationMemoryInput!): SetConversationMemoryPayload
        """
        Deletes the memory and destroys its encryption key, so that no copy of it can ever be read.
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
  if (!plinth.conversationMemories)
    throw new PlinthError("UNAVAILABLE", "Conversation memories are not configured on this server.");
  return plinth.conversationMemories;
}
