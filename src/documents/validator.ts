import { type DocumentNode, Kind, parse } from "postgraphile/graphql";
import type { Application } from "../application/application.ts";
import type { Config } from "../config/config.ts";
import { makeParseAndValidate } from "../graphql/limits/parse-and-validate.ts";
import { readSchema } from "../graphql/read-schema.ts";

/** The largest document that the database stores. */
const MAX_LENGTH = 1_000_000;

interface Verdict {
  /** Names of the operations; an operation without a name has its kind instead. */
  readonly operations: readonly string[];
  /** Empty for a document that the API accepts. */
  readonly errors: readonly string[];
}

/**
 * Returns a function that validates documents as a server with these settings does.
 * @param authenticatorUrl of the role whose schema it is
 * @throws PlinthError DATABASE_UNREACHABLE, NOT_MIGRATED
 */
export async function createValidator(
  config: Config,
  authenticatorUrl: string,
  application: Application = {},
): Promise<(text: string) => Verdict> {
  const schema = await readSchema(config, authenticatorUrl, application);
  const parseAndValidate = makeParseAndValidate(schema, config.limits, config.http);
  return (text) => {
    const unstorable = unstorableReason(text);
    if (unstorable) return { operations: [], errors: [unstorable] };
    const { document, errors = [] } = parseAndValidate(text);
    return { operations: namesOf(document ?? text), errors: errors.map(({ message }) => message) };
  };
}

function unstorableReason(text: string): string | undefined {
  if (text.length > MAX_LENGTH) return `The document has more than ${MAX_LENGTH} characters.`;
  return text.isWellFormed() && !text.includes("\0")
    ? undefined
    : "The document contains a NUL or half a character (a lone surrogate).";
}

/** Also of a document that is not valid, so that its operations can be recognized. */
function namesOf(document: DocumentNode | string): string[] {
  try {
    const { definitions } = typeof document === "string" ? parse(document, { noLocation: true }) : document;
    return definitions.flatMap((node) =>
      node.kind === Kind.OPERATION_DEFINITION ? [node.name?.value ?? node.operation] : [],
    );
  } catch {
    return [];
  }
}
