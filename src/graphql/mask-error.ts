import { randomUUID } from "node:crypto";
import { isSafeError } from "grafast";
import { GraphQLError, type GraphQLErrorExtensions } from "graphql";
import type { Logger } from "pino";
import type { ConstraintFields } from "../request/constraint-fields.ts";
import { currentRequest } from "../request/context.ts";
import type { UnforeseenError } from "../request/error-log.ts";
import { type PublicError, publicError } from "../request/public-error.ts";

/** The message of graphql-js for a wrong value inside a variable: `… at "input.chat.title"; …`. The field is the last name. */
const VARIABLE_AT = /^Variable "\$\w+" got invalid value .*? at "(?:[^"]*\.)?(\w+)(?:\[\d+\])*"; /s;

/** The message of Grafast for a variable that has a default, so that it may be null, but is null where a value is required. */
const NULL_VARIABLE = /^Query planning error: Expected non-null value of type (\w+)$/;

/** Messages of graphql-js. These errors have no location in the document, and neither have errors that were caught around an execution. */
const NO_SUCH_OPERATION = /^(Unknown operation named|Must provide (an operation|operation name))/;

/**
 * Reduces every error of an operation to what a client may see: always `extensions.code`, plus `field` and `constraint`
 * where a value is at fault. Unforeseen errors become INTERNAL with an id that is also in the log.
 */
export function makeMaskError(options: {
  logger: Logger;
  constraints: ConstraintFields;
  anonymousRole: string;
  onUnforeseen?: ((error: UnforeseenError) => void) | undefined;
}): (error: GraphQLError) => GraphQLError {
  const { logger, constraints, anonymousRole, onUnforeseen } = options;

  return function maskError(error) {
    const original = error.originalError;
    if (original == null || original instanceof GraphQLError) {
      // Before execution: a variable has the wrong type, or the document does not contain the named operation.
      const isBeforeExecution =
        error.path === undefined && (error.nodes || NO_SUCH_OPERATION.test(error.message));
      const field = isBeforeExecution ? VARIABLE_AT.exec(error.message)?.[1] : undefined;
      const { code } = error.extensions ?? {};
      if (typeof code === "string" && (code !== "BAD_USER_INPUT" || !field)) return error;
      if (isBeforeExecution)
        return withExtensions(error, error.message, {
          ...error.extensions,
          code: "BAD_USER_INPUT",
          ...(field && { field }),
        });
    } else if (isSafeError(original)) {
      const code = /^Operation took too long to plan/.test(original.message)
        ? "QUERY_TOO_COMPLEX"
        : "BAD_USER_INPUT";
      return withExtensions(error, original.message, { code, ...original.extensions });
    }
    const type = NULL_VARIABLE.exec(original?.message ?? "")?.[1];
    if (type)
      return withExtensions(error, `A variable is null where a value of type ${type} is required.`, {
        code: "BAD_USER_INPUT",
      });
    const known = publicError(original, constraints, anonymousRole);
    if (known) {
      if (known.code === "UNAVAILABLE") {
        const { correlationId, userId } = currentRequest.getStore() ?? {};
        logger.warn({ correlationId, userId, err: original }, "unavailable");
      }
      return withExtensions(error, known.message, extensionsOf(known));
    }

    const errorId = randomUUID();
    const { correlationId, userId } = currentRequest.getStore() ?? {};
    logger.error(
      { correlationId, userId, errorId, path: error.path, err: original ?? error },
      "internal error",
    );
    onUnforeseen?.({ errorId, error: original ?? error, correlationId, userId, path: error.path });
    return withExtensions(error, "Something went wrong on our side.", { code: "INTERNAL", errorId });
  };
}

function extensionsOf({ code, field, constraint, hint }: PublicError): GraphQLErrorExtensions {
  return { code, ...(field && { field }), ...(constraint && { constraint }), ...(hint && { hint }) };
}

/** Returns a copy without `originalError`, so that masking it again changes nothing. */
function withExtensions(
  error: GraphQLError,
  message: string,
  extensions: GraphQLErrorExtensions,
): GraphQLError {
  return new GraphQLError(message, {
    nodes: error.nodes,
    source: error.source,
    positions: error.positions,
    path: error.path,
    extensions,
  });
}
