import type { ConstraintFields } from "../../request/constraint-fields.ts";
import { asCurrentRequest, currentRequest, type RequestContext } from "../../request/context.ts";
import { publicError } from "../../request/public-error.ts";
import type { DescribeError } from "../error-responses.ts";
import { HttpError } from "../http-error.ts";

/** The status of each code in a route of an application; GraphQL responses have 200. Those not listed are the client's fault. */
const STATUSES: Readonly<Record<string, number>> = {
  UNAUTHENTICATED: 401,
  INVALID_CREDENTIALS: 401,
  QUOTA_EXCEEDED: 402,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  CONFLICT: 409,
  RATE_LIMITED: 429,
};

/**
 * Adds what only GraphQL's error mask knows otherwise: errors of the database that say what the caller did wrong.
 * @param anonymousRole see publicError
 */
export function createPublicErrors(options: {
  readonly constraints: ConstraintFields;
  readonly anonymousRole: string;
  readonly describeError: DescribeError;
}): (error: unknown, context: RequestContext) => HttpError {
  const { constraints, anonymousRole, describeError } = options;
  return (error, context) => {
    const known = currentRequest.run(
      asCurrentRequest(() => context),
      () => (error instanceof HttpError ? undefined : publicError(error, constraints, anonymousRole)),
    );
    // Logged, or to be logged.
    if (!known || known.code === "UNAVAILABLE" || known.code === "TIMEOUT")
      return describeError(error, context);
    const { code, message, field, constraint, hint } = known;
    const extensions = { ...(field && { field }), ...(constraint && { constraint }), ...(hint && { hint }) };
    return new HttpError(STATUSES[code] ?? 400, code, message, {}, extensions);
  };
}
