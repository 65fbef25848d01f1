import { isSafeError } from "grafast";
import {
  type DocumentNode,
  type FragmentDefinitionNode,
  GraphQLError,
  type GraphQLSchema,
  getOperationAST,
  getVariableValues,
  type OperationDefinitionNode,
} from "graphql";
import type { Logger } from "pino";
import type { RequestContext } from "../request/context.ts";
import { marksReads, ReadsOfOthers, type RecordReads, withoutMarks } from "../request/reads-of-others.ts";
import { assertStorable } from "../request/storable.ts";
import type { Statement, StatementResult, TransactionSettings } from "../request/transaction.ts";
import { BoundedCache } from "../support/bounded-cache.ts";
import type { Compile, CompiledStatement } from "./compiled-statement.ts";
import type { Operation } from "./execute.ts";
import { fragmentsOf } from "./limits/fragments.ts";
import { MAX_KEPT_LENGTH, type ParsedDocument } from "./limits/parse-and-validate.ts";
import { assertCost, type CostLimits } from "./limits/query-cost.ts";

/** An operation that failed once, perhaps for its variables only, is tried again after so many uses, four times as many each time. */
const PATIENCE = { first: 4, most: 1_024 };
/** Maximum characters of all cached statements together. */
const CACHED_CHARACTERS = 5_000_000;

export interface CompiledDocuments {
  /**
   * Answers a query with one statement if its document is known and can be compiled.
   * @param isNamed whether the client named the document by its hash, so that it is known however rarely it is used
   * @returns the JSON text of the response; undefined, at once or later, if the operation must be planned, which also reports all
   * errors
   */
  answer(
    operation: Operation,
    request: RequestContext,
    isNamed?: boolean,
  ): Promise<string | undefined> | undefined;
}

interface CompiledOperation {
  readonly id: number;
  readonly operation: OperationDefinitionNode;
  readonly fragments: ReadonlyMap<string, FragmentDefinitionNode>;
  uses: number;
  /** It is planned up to this use. */
  plannedUntil: number;
  /** For how many uses it is planned after it could not be compiled, or its statement failed. */
  patience: number;
  variablesRead: ReadonlySet<string>;
}

type Variables = Readonly<Record<string, unknown>>;

export function createCompiledDocuments(options: {
  schema: GraphQLSchema;
  parseAndValidate: (text: string) => ParsedDocument;
  limits: CostLimits;
  settingsFor: (request: RequestContext) => TransactionSettings;
  send: (
    settings: TransactionSettings,
    statement: Statement,
    operation: OperationDefinitionNode,
  ) => Promise<StatementResult<unknown>>;
  /** Called before an answer with rows of other people that a permission shows. */
  recordReads: RecordReads;
  /** Called with the number of fields of each newly compiled statement. */
  onPlan: (request: RequestContext, fields: number) => void;
  logger: Logger;
  /** Number of times that a document must have been used before it is compiled, unless a client names it. */
  usesBefore: number;
}): CompiledDocuments {
  const { schema, parseAndValidate, limits, settingsFor, send, recordReads, onPlan, logger, usesBefore } =
    options;
  const compile = schema.extensions.plinthCompile as Compile | undefined;
  const operations = new WeakMap<DocumentNode, Map<string | undefined, CompiledOperation>>();
  const statements = new BoundedCache<CompiledStatement>(
    CACHED_CHARACTERS,
    (key, { text }) => key.length + text.length,
  );
  let lastId = 0;

  function operationOf(
    document: DocumentNode,
    name: string | undefined,
    isNamed: boolean,
  ): CompiledOperation | undefined {
    const ofDocument = operations.get(document) ?? new Map<string | undefined, CompiledOperation>();
    operations.set(document, ofDocument);
    const known = ofDocument.get(name);
    if (known) return known;
    const operation = getOperationAST(document, name);
    if (!operation) return undefined;
    const fragments = fragmentsOf(document);
    const created: CompiledOperation = {
      id: ++lastId,
      operation,
      fragments,
      uses: 0,
      plannedUntil: isNamed ? 0 : usesBefore,
      patience: PATIENCE.first,
      variablesRead: new Set(),
    };
    ofDocument.set(name, created);
    return created;
  }

  function planForAWhile(known: CompiledOperation): void {
    known.plannedUntil = known.uses + known.patience;
    known.patience = Math.min(known.patience * 4, PATIENCE.most);
  }

  /** @throws GraphQLError, SafeError for wrong arguments, and for an operation that costs too much */
  function statementFor(
    known: CompiledOperation,
    variables: Variables,
    request: RequestContext,
  ): CompiledStatement | undefined {
    const cached = statements.get(keyOf(known, variables));
    if (cached) return cached;
    const { operation, fragments } = known;
    const { fields } = assertCost({ schema, operation, fragments, variables }, limits);
    const statement = compile!({ schema, operation, fragments, variables });
    if (typeof statement === "string") {
      logger.debug({ reason: statement }, "an operation is planned");
      planForAWhile(known);
      return undefined;
    }
    onPlan(request, fields);
    known.variablesRead = new Set([...known.variablesRead, ...statement.variablesRead]);
    statements.set(keyOf(known, variables), statement);
    return statement;
  }

  /** Returns a response after its reads of other people's data are recorded; undefined if they cannot be. */
  function recorded(
    response: string,
    { name }: OperationDefinitionNode,
    text: string,
    request: RequestContext,
  ): string | Promise<string | undefined> {
    const reads = new ReadsOfOthers();
    reads.add(response);
    if (reads.isEmpty) return response;
    return recordReads(request, { name: name?.value, text }, reads).then(
      () => withoutMarks(response),
      // The planner fails to record them too, and reports the error.
      () => undefined,
    );
  }

  return {
    answer({ query, variables: given, operationName }, request, isNamed = false) {
      // The parser would return another document each time.
      if (!compile || query.length > MAX_KEPT_LENGTH) return undefined;
      const variables = given ?? {};
      const { document } = parseAndValidate(query);
      const known = document && operationOf(document, operationName ?? undefined, isNamed);
      if (!known || ++known.uses <= known.plannedUntil) return undefined;
      let statement: CompiledStatement | undefined;
      let values: unknown[];
      try {
        assertStorable(variables);
        const { coerced } = getVariableValues(schema, known.operation.variableDefinitions ?? [], variables);
        statement = coerced && statementFor(known, coerced, request);
        if (!statement) return undefined;
        values = statement.valuesFor(coerced!);
      } catch (error) {
        if (error instanceof GraphQLError || isSafeError(error as Error)) return undefined;
        logger.error({ err: error }, "an operation cannot be compiled");
        planForAWhile(known);
        return undefined;
      }
      const { text, name } = statement;
      return send(settingsFor(request), { text, name, values, arrayMode: true }, known.operation).then(
        ({ rows }) => {
          known.patience = PATIENCE.first;
          const data = (rows as [[string]])[0][0];
          const response = `{"data":${data}}`;
          return marksReads(text) ? recorded(response, known.operation, query, request) : response;
        },
        (error: unknown) => {
          logger.debug({ err: error }, "a compiled operation is planned");
          // Answering an operation twice each time would double its cost.
          planForAWhile(known);
          return undefined;
        },
      );
    },
  };
}

/** A key for the variables that the text depends on; an absent one is not null, because an argument may have a default. */
function keyOf({ id, variablesRead }: CompiledOperation, variables: Variables): string {
  let key = String(id);
  for (const name of variablesRead) key += `\n${name in variables ? JSON.stringify(variables[name]) : ""}`;
  return key;
}
