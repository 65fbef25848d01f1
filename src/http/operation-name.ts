import type { Operation } from "../graphql/execute.ts";

/** The name at the start of a document; only comments may stand before it, so that no text of a user is taken for one. */
const FIRST_NAME = /^(?:[\s,]|#[^\n]*\n)*(?:query|mutation|subscription)\s+(\w{1,128})/;

/** A client may send any text as the name of an operation, which then has none. */
const NAME = /^\w{1,128}$/;

/** Returns the name of an operation; undefined if it has none, or if its document begins with another definition. */
export function operationNameOf({ query, operationName }: Operation): string | undefined {
  return operationName ? NAME.exec(operationName)?.[0] : FIRST_NAME.exec(query)?.[1];
}
