import { types } from "node:util";
import { PlinthError } from "../support/errors.ts";
import { ConstraintFields } from "./constraint-fields.ts";
import { currentRequest } from "./context.ts";
import { countQuotedNames } from "./quoted-names.ts";
import { roleOfError, wasMadeReadOnly } from "./transaction.ts";

/** The part of an error that a client sees; everything else stays in the log. */
export interface PublicError {
  /** Stable; docs/errors.md lists them. */
  readonly code: string;
  /** May change; clients read `code`. */
  readonly message: string;
  /** The argument or input field at fault, by its GraphQL name. */
  readonly field?: string | undefined;
  readonly constraint?: string | undefined;
  readonly hint?: string | undefined;
}

/** The parts of node-pg's DatabaseError that are read here. */
interface DatabaseError extends Error {
  readonly code: string;
  readonly severity: string;
  readonly hint?: string;
  readonly schema?: string;
  readonly table?: string;
  readonly column?: string;
  readonly constraint?: string;
}

/** SQLSTATEs that our SQL functions raise. Their messages are meant for users and are passed on. */
export const OWN_SQLSTATES: Readonly<Record<string, string>> = {
  PL401: "UNAUTHENTICATED",
  PL402: "QUOTA_EXCEEDED",
  PL403: "FORBIDDEN",
  PL404: "NOT_FOUND",
  PL409: "CONFLICT",
  PL422: "BAD_USER_INPUT",
  PL429: "RATE_LIMITED",
};

/** Codes of PlinthErrors meant for clients; any other, such as INVALID_SETTING, is for operators. */
export const PUBLIC_PLINTH_CODES: ReadonlySet<string> = new Set([
  ...Object.values(OWN_SQLSTATES),
  "INVALID_CREDENTIALS",
  "UNAVAILABLE",
  "TIMEOUT",
]);

/** Node's error codes for an unreachable database, and node-pg's messages for errors without a code. */
const NETWORK_CODES =
  /^E(CONNREFUSED|CONNRESET|HOSTUNREACH|NETUNREACH|NOTFOUND|PIPE|TIMEDOUT|AI_AGAIN)$|^NO_SUITABLE_HOST$/;
const NETWORK_MESSAGES =
  /^(timeout expired|Connection terminated|Query read timeout|Client has encountered a connection error|Client was closed|Cannot use a pool after calling end)/;

export const UNAVAILABLE: PublicError = {
  code: "UNAVAILABLE",
  message: "The database cannot be reached at the moment; try again shortly.",
};
const BUSY: PublicError = {
  code: "UNAVAILABLE",
  message: "The server is too busy at the moment; try again shortly.",
};
const READ_ONLY: PublicError = {
  code: "UNAVAILABLE",
  message: "The database is read-only at the moment; try again shortly.",
};
const UNAUTHENTICATED: PublicError = { code: "UNAUTHENTICATED", message: "You must be signed in." };
/** The same whether the row does not exist or may not be changed, so that callers cannot probe for rows. */
export const NOT_FOUND: PublicError = {
  code: "NOT_FOUND",
  message: "The record does not exist or you may not change it.",
};

/**
 * Returns the part of a field error that the client may see.
 * @param anonymousRole permission errors of this role become UNAUTHENTICATED, because signing in may help
 * @returns undefined for an unforeseen error
 */
export function publicError(
  error: unknown,
  constraints: ConstraintFields,
  anonymousRole: string,
): PublicError | undefined {
  // Not `instanceof Error`, because system errors may come from another realm (in test runners).
  if (!types.isNativeError(error)) return undefined;
  if (error instanceof PlinthError) {
    const { code, message, field, hint } = error;
    return PUBLIC_PLINTH_CODES.has(code) ? { code, message, field, hint } : undefined;
  }
  if (isDatabaseError(error)) return databaseError(error, constraints, roleOfError(error) === anonymousRole);
  // node-pg's pool, when no connection became free in time.
  if (error.message.startsWith("timeout exceeded when trying to connect")) return BUSY;
  if (
    NETWORK_CODES.test(String((error as NodeJS.ErrnoException).code)) ||
    NETWORK_MESSAGES.test(error.message)
  )
    return UNAVAILABLE;
  if (error instanceof RangeError && /call stack/.test(error.message))
    return { code: "BAD_USER_INPUT", message: "A value is nested too deeply." };
  // PostGraphile's delete of a row that is absent or hidden by a policy.
  if (error.message.startsWith("No values were deleted in collection")) return NOT_FOUND;
  return undefined;
}

/** Whether a retry without any other change may succeed. */
export function isTransient(error: unknown): boolean {
  const code = publicError(error, NO_CONSTRAINTS, "")?.code;
  return code === "UNAVAILABLE" || code === "TIMEOUT";
}

const NO_CONSTRAINTS = new ConstraintFields();

function isDatabaseError(error: Error): error is DatabaseError {
  const { code, severity } = error as Partial<DatabaseError>;
  return typeof severity === "string" && typeof code === "string" && /^[0-9A-Z]{5}$/.test(code);
}

function databaseError(
  error: DatabaseError,
  constraints: ConstraintFields,
  isAnonymous: boolean,
): PublicError | undefined {
  const { code: sqlState, message, hint } = error;
  const own = OWN_SQLSTATES[sqlState];
  if (own) return { code: own, message, hint, field: constraints.columnField(error) };
  if (sqlState.startsWith("23")) return violation(error, constraints);
  switch (sqlState) {
    case "42501":
      return isAnonymous ? UNAUTHENTICATED : { code: "FORBIDDEN", message: "You may not do this." };
    // A token without the scope "write" brings a mutation into a read-only transaction; a standby makes all of them so.
    case "25006":
      return wasMadeReadOnly(error) && currentRequest.getStore()?.mayWrite === false
        ? { code: "FORBIDDEN", message: "This token is read-only." }
        : READ_ONLY;
    case "57014":
    case "55P03":
      return { code: "TIMEOUT", message: "The database took too long to respond." };
  }
  switch (sqlState.slice(0, 2)) {
    // Serialization failures, deadlocks and other rollbacks that the transaction did not ask for.
    case "40":
      return { code: "CONFLICT", message: "A concurrent change caused a conflict; try again." };
    case "22":
      return { code: "BAD_USER_INPUT", message: "A value has the wrong format or is out of range." };
    case "54":
      return { code: "QUERY_TOO_COMPLEX", message: "The operation is too complex for the database." };
    case "08":
    case "28": // the database login is rejected: for operators, in the log
    case "3D":
    case "53":
    case "57":
      return UNAVAILABLE;
    default:
      return undefined;
  }
}

/** Integrity constraint violations (class 23). PostgreSQL's message and detail hold values and are not passed on. */
function violation(error: DatabaseError, constraints: ConstraintFields): PublicError | undefined {
  const { constraint, field = constraints.columnField(error), description } = constraints.of(error);
  const subject = field ? `\`${field}\`` : "A value";
  const because = constraint ? ` (${constraint})` : "";
  switch (error.code) {
    case "23505":
      return { code: "CONFLICT", message: `${subject} is already taken.`, field, constraint };
    case "23P01":
      return {
        code: "CONFLICT",
        message: `${subject} conflicts with another record${because}.`,
        field,
        constraint,
      };
    case "23502":
      return { code: "BAD_USER_INPUT", message: `${subject} is required.`, field, constraint };
    case "23514":
      return {
        code: "BAD_USER_INPUT",
        message: `${subject} violates a rule${because}.`,
        field,
        constraint,
        hint: description,
      };
    case "23001":
      return { code: "CONFLICT", message: `The record is still in use${because}.`, constraint };
    case "23503":
      // The same SQLSTATE for both sides: a row with an invalid reference, and a row that others still reference, whose message
      // names the other table as well. Its words depend on the server's language.
      return countQuotedNames(error.message) > 2
        ? { code: "CONFLICT", message: `The record is still in use${because}.`, constraint }
        : {
            code: "BAD_USER_INPUT",
            message: `${subject} does not refer to a record you can use.`,
            field,
            constraint,
          };
    default:
      return undefined;
  }
}
