import "graphile-build-pg";
import { constant, context, get, lambda, type Step } from "grafast";
import { extendSchema, gql } from "graphile-utils";
import type { Memories, MemoryPage } from "../src/accounts/memories/memories.ts";
import type {
  CreateMemoryInput,
  Memory,
  MemoryKind,
  UpdateMemoryInput,
} from "../src/accounts/memories/memory.ts";
import type { RecalledMemory } from "../src/accounts/memories/recall.ts";
import { refuseReadOnlyToken } from "../src/auth/api-token.ts";
import { PlinthError } from "../src/support/errors.ts";
import { mutationField, mutationFieldWithoutInput } from "./mutation-field.ts";

/**
 * The user's long-term memories. Only the server has the keys, so the fields are written by hand and the table is not in the
 * schema.
 */
export const MemoriesPlugin = extendSchema(
  () => ({
    typeDefs: gql`
      """A long-term memory of the signed-in user, encrypted with the user's own key."""
      type Memory {
        """The id."""
        id: UUID!
        """The text to remember."""
        text: String!
        """The kind of statement that it is."""
        kind: MemoryKind!
        """The author of the memory."""
        source: MemorySource!
        """From 1 to 5; decides between equal matches."""
        importance: Int!
        """How likely the memory is true, from 0 to 1."""
        confidence: Float!
        """The chat that it comes from."""
        chatId: UUID
        """The room that it comes from."""
        roomId: UUID
        """A version that differs after each change; pass it to \`updateMemory\`."""
        version: String!
        """Time of creation."""
        createdAt: Datetime!
        """Time of the last change."""
        updatedAt: Datetime!
        """Time when the memory was last given to a model."""
        lastRecalledAt: Datetime
        """Time after which the memory is not recalled and is deleted; null for never."""
        expiresAt: Datetime
      }

      """A page of memories."""
      type MemoryPage {
        """The memories, newest first."""
        nodes: [Memory!]!
        """Whether older memories follow."""
        hasNextPage: Boolean!
        """The value of \`after\` for the next page; null on an empty page."""
        endCursor: UUID
      }

      """A memory that a query found, and why."""
      type RecalledMemory {
        """The memory."""
        memory: Memory!
        """Orders the results of one query; says nothing across queries."""
        score: Float!
        """Why the memory was recalled."""
        reasons: [RecallReason!]!
        """The words of the memory that the query has, in lower case and without accents."""
        matchedWords: [String!]!
        """Cosine similarity of the meanings, at most 1; null if the memory was not found by its meaning."""
        similarity: Float
      }

      """Why a memory was recalled."""
      enum RecallReason {
        """It has words of the query."""
        words
        """Its meaning is similar."""
        meaning
      }

      input CreateMemoryInput {
        """The text to remember, at most 4,000 characters."""
        text: String!
        """\`fact\` if omitted."""
        kind: MemoryKind
        """\`user\` if omitted."""
        source: MemorySource
        """From 1 to 5; defaults to 3."""
        importance: Int
        """From 0 to 1; defaults to 1."""
        confidence: Float
        """The chat that it comes from, one of the user's."""
        chatId: UUID
        """The room that it comes from, one of the user's."""
        roomId: UUID
        """Time of expiry; never by default."""
        expiresAt: Datetime
      }

      type CreateMemoryPayload {
        """The new memory."""
        memory: Memory!
        query: Query
      }

      """Fields that are omitted or null stay unchanged."""
      input UpdateMemoryInput {
        """The memory."""
        id: UUID!
        """Write only if the memory still has this version; CONFLICT otherwise. If omitted, the last write wins."""
        expectedVersion: String
        """The text to remember, at most 4,000 characters."""
        text: String
        """The kind of statement that it is."""
        kind: MemoryKind
        """From 1 to 5."""
        importance: Int
        """From 0 to 1."""
        confidence: Float
        """Time of expiry; null for never."""
        expiresAt: Datetime
      }

      type UpdateMemoryPayload {
        """The changed memory."""
        memory: Memory!
        query: Query
      }

      input DeleteMemoryInput {
        """The memory."""
        id: UUID!
      }

      type DeleteMemoryPayload {
        """The id of the deleted memory."""
        id: UUID!
        query: Query
      }

      type DeleteAllMemoriesPayload {
        """The number of memories that were deleted."""
        deletedCount: Int!
        query: Query
      }

      extend type Query {
        """The signed-in user's memories, newest first."""
        memories(
          """The size of the page, 1 to 100."""
          first: Int! = 20
          """The \`endCursor\` of the previous page."""
          after: UUID
          """Only memories of this kind."""
          kind: MemoryKind
        ): MemoryPage
        """
        The signed-in user's memories that a text recalls, best first: those with any of its words and, where the operator enabled
        it, those with a similar meaning. A "phrase" must be in the memory, and a -word must not.
        """
        recallMemories(
          """A question, a message or some words. At most 1,000 characters of it are searched by words."""
          query: String!
          """The most memories to return, 1 to 100."""
          first: Int! = 10
        ): [RecalledMemory!]
      }

      extend type Mutation {
        """Stores a memory. Fails with QUOTA_EXCEEDED at 10,000 memories."""
        createMemory(input: CreateMemoryInput!): CreateMemoryPayload
        """Changes a memory."""
        updateMemory(input: UpdateMemoryInput!): UpdateMemoryPayload
        """Deletes a memory."""
        deleteMemory(input: DeleteMemoryInput!): DeleteMemoryPayload
        """Deletes all memories and destroys their encryption key, so that no copy of them can ever be read."""
        deleteAllMemories: DeleteAllMemoriesPayload
      }
    `,
    objects: {
      Query: {
        plans: {
          memories: (_$root: Step, args: Arguments) =>
            lambda(
              [args.getRaw("first"), args.getRaw("after"), args.getRaw("kind"), context()],
              ([first, after, kind, value]): Promise<MemoryPage> =>
                memoriesOf(value).list(
                  { first: first as number, after: after as string, kind: kind as MemoryKind },
                  value.plinth.request,
                ),
            ),
          recallMemories: (_$root: Step, args: Arguments) =>
            lambda(
              [args.getRaw("query"), args.getRaw("first"), context()],
              ([query, first, value]): Promise<readonly RecalledMemory[]> =>
                memoriesOf(value).recall(query as string, first as number, value.plinth.request),
            ),
        },
      },
      Mutation: {
        plans: {
          createMemory: mutationField(async (input: CreateMemoryInput, context) => {
            refuseReadOnlyToken(context.plinth.request.claims);
            return memoriesOf(context).create(input, context.plinth.request);
          }),
          updateMemory: mutationField(async (input: UpdateMemoryInput, context) => {
            refuseReadOnlyToken(context.plinth.request.claims);
            return memoriesOf(context).update(input, context.plinth.request);
          }),
          deleteMemory: mutationField(async ({ id }: { id: string }, context) => {
            refuseReadOnlyToken(context.plinth.request.claims);
            await memoriesOf(context).delete(id, context.plinth.request);
            return { id };
          }),
          deleteAllMemories: mutationFieldWithoutInput(async (context) => {
            refuseReadOnlyToken(context.plinth.request.claims);
            return { deletedCount: await memoriesOf(context).deleteAll(context.plinth.request) };
          }),
        },
      },
      CreateMemoryPayload: {
        plans: { memory: ($memory: Step<Memory>) => $memory, query: () => constant({}) },
      },
      UpdateMemoryPayload: {
        plans: { memory: ($memory: Step<Memory>) => $memory, query: () => constant({}) },
      },
      DeleteMemoryPayload: {
        plans: { id: ($deleted: Step<{ id: string }>) => get($deleted, "id"), query: () => constant({}) },
      },
      DeleteAllMemoriesPayload: {
        plans: {
          deletedCount: ($deleted: Step<{ deletedCount: number }>) => get($deleted, "deletedCount"),
          query: () => constant({}),
        },
      },
    },
  }),
  "PlinthMemoriesPlugin",
);

interface Arguments {
  getRaw(path: string): Step;
}

function memoriesOf({ plinth }: Grafast.Context): Memories {
  if (!plinth.memories) throw new PlinthError("UNAVAILABLE", "Memories are not configured on this server.");
  return plinth.memories;
}
