import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import { isSafeError } from "postgraphile/grafast";
import { GraphQLError, type GraphQLErrorExtensions } from "postgraphile/graphql";
import type { ConstraintFields } from "../request/constraint-fields.ts";
import { currentRequest } from "../request/context.ts";
import type { UnforeseenError } from "../request/error-log.ts";
import { type PublicError, publicError } from "../request/public-error.ts";

/** graphql-js's words for a variable with a wrong value inside: `… at "input.chat.title"; …`. The field is the last name. */
const VARIABLE_AT = /^Variable "\$\w+" got invalid value .*? at "(?:[^"]*\.)?(\w+)(?:\[\d+\])*"; /s;

/** graphql-js's words. They come without a place in the document, as do messages of errors that grafserv caught. */
const NO_SUCH_OPERATION = /^(Unknown operation named|Must provide (an operation|operation name))/;

/**
 * Turns every error of an operation into what a client may know: `extensions.code` always, `field` and `constraint`
 * where a value is at fault. What nobody foresaw becomes INTERNAL with an id that the log carries too.
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
      // Nothing ran yet: a variable of the wrong type, or the operation named is not in the document.
      const isRefusedEarly =
        error.path === undefined && (error.nodes || NO_SUCH_OPERATION.test(error.message));
      const field = isRefusedEarly ? VARIABLE_AT.exec(error.message)?.[1] : undefined;
      const { code } = error.extensions ?? {};
      if (typeof code === "string" && (code !== "BAD_USER_INPUT" || !field)) return error;
      if (isRefusedEarly)
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
    const known = publicError(original, constraints, anonymousRole);
    if (known) {
      if (known.code === "UNAVAILABLE")
        logger.warn({ ...currentRequest.getStore(), err: original }, "unavailable");
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

/** A copy without `originalError`, so that masking it again changes nothing. */
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
