/** The marks that PostgreSQL's messages put around a name or value in the languages that it knows (lc_messages). */
const QUOTE = /["«»„“”「」]/g;

/** Counts the quoted names in a message, which are the same in each language. */
export function countQuotedNames(message: string): number {
  return Math.floor((message.match(QUOTE) ?? []).length / 2);
}
