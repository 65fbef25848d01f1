import { constant, extendSchema, gql, lambda, type Step } from "plinth/graphile";

/** Adds the field `excerpt` to notes, which the database does not have. */
export const NoteExcerptPlugin = extendSchema(() => ({
  typeDefs: gql`
    extend type Note {
      "The beginning of the text, for lists."
      excerpt: String!
    }
  `,
  objects: {
    Note: {
      plans: {
        excerpt(note: Step & { get(column: string): Step<string> }) {
          return lambda([note.get("body"), constant(80)], ([body, length]) => excerptOf(body, length));
        },
      },
    },
  },
}));

function excerptOf(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}
