import { depthLimit } from "@graphile/depth-limit";
import {
  type DocumentNode,
  GraphQLError,
  type GraphQLSchema,
  NoSchemaIntrospectionCustomRule,
  parse,
  Source,
  specifiedRules,
  type ValidationRule,
  validate,
} from "graphql";
import { BoundedCache } from "../../support/bounded-cache.ts";
import { assertUnconditionalSubscriptions, ExactFloatsRule } from "./document-rules.ts";
import { assertWidth, oncePerOperationFields, type WidthLimits } from "./query-width.ts";

export interface DocumentLimits extends WidthLimits {
  /** Maximum nesting depth of fields. */
  readonly depth: number;
}

export type ParsedDocument =
  | { readonly document: DocumentNode; readonly errors?: never }
  | { readonly document?: never; readonly errors: readonly GraphQLError[] };

/** Maximum characters of all cached texts; a parsed document takes about 200 times the memory of its text. */
const CACHED_CHARACTERS = 500_000;
/** Longer texts are parsed each time, so that one does not displace many others. */
export const MAX_KEPT_LENGTH = 20_000;
/** A field with its alias, arguments and braces has about ten tokens. */
const TOKENS_PER_FIELD = 20;
const MAX_ERRORS = 5;

/** A parser per schema, so that all who parse share its cache and its documents. */
const parsers = new WeakMap<GraphQLSchema, (text: string) => ParsedDocument>();

/** Returns the parser of a schema, see `makeParseAndValidate`. */
export function parserOf(
  schema: GraphQLSchema,
  limits: DocumentLimits,
  options: { introspection: boolean },
): (text: string) => ParsedDocument {
  const parser = parsers.get(schema) ?? makeParseAndValidate(schema, limits, options);
  parsers.set(schema, parser);
  return parser;
}

/**
 * Parses and validates documents. Errors carry a code: GRAPHQL_PARSE_FAILED, GRAPHQL_VALIDATION_FAILED or
 * QUERY_TOO_COMPLEX. Each step is bounded before the next, more expensive one: tokens, width, validation, depth. Results
 * depend only on the text and are cached for the most recently used texts.
 */
export function makeParseAndValidate(
  schema: GraphQLSchema,
  limits: DocumentLimits,
  options: { introspection: boolean },
): (text: string) => ParsedDocument {
  const rules: ValidationRule[] = [...specifiedRules, ExactFloatsRule];
  if (!options.introspection) rules.push(NoSchemaIntrospectionCustomRule);
  const depthRule = depthLimit({
    maxDepth: limits.depth,
    maxDepthByFieldCoordinates: {
      // Required by the introspection query of current GraphQL tools.
      "__Type.ofType": 9,
      "__Type.fields": 1,
    },
    maxIntrospectionDepth: 16,
  }) as unknown as ValidationRule;
  const onceFields = oncePerOperationFields(schema);
  const cache = new BoundedCache<ParsedDocument>(CACHED_CHARACTERS, (text) => text.length);

  function examine(text: string): ParsedDocument {
    let document: DocumentNode;
    try {
      document = parse(new Source(text, "GraphQL request"), { maxTokens: limits.fields * TOKENS_PER_FIELD });
    } catch (error) {
      return { errors: [parseError(error)] };
    }
    try {
      assertWidth(document, limits, onceFields);
      assertUnconditionalSubscriptions(document);
      const invalid = validate(schema, document, rules, {
        maxErrors: MAX_ERRORS,
        hideSuggestions: !options.introspection,
      });
      if (invalid.length > 0)
        return { errors: invalid.map((error) => withCode(error, "GRAPHQL_VALIDATION_FAILED")) };
      const tooDeep = validate(schema, document, [depthRule]);
      if (tooDeep.length > 0) return { errors: tooDeep.map((error) => withCode(error, "QUERY_TOO_COMPLEX")) };
      return { document };
    } catch (error) {
      if (error instanceof GraphQLError) return { errors: [error] };
      if (error instanceof RangeError) return { errors: [tooComplex("The document is nested too deeply.")] };
      throw error;
    }
  }

  return function parseAndValidate(text) {
    const known = cache.get(text);
    if (known) return known;
    const result = examine(text);
    if (text.length <= MAX_KEPT_LENGTH) cache.set(text, result);
    return result;
  };
}

function parseError(error: unknown): GraphQLError {
  if (error instanceof RangeError) return tooComplex("The document is nested too deeply.");
  if (!(error instanceof GraphQLError)) throw error;
  if (/contains more that \d+ tokens/.test(error.message)) return tooComplex("The document is too long.");
  return withCode(error, "GRAPHQL_PARSE_FAILED");
}

function tooComplex(message: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code: "QUERY_TOO_COMPLEX" } });
}

/** Returns the error with its own code if it has one (such as a scalar's for a wrong value), otherwise with this one. */
function withCode(error: GraphQLError, code: string): GraphQLError {
  const { message, nodes, source, positions, extensions } = error;
  return new GraphQLError(message, { nodes, source, positions, extensions: { code, ...extensions } });
}
