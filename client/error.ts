import { type PlinthErrorCode, SERVER_ERROR_CODES } from "./error-codes.ts";

/** An error as the server sends it. */
export interface GraphqlError {
  readonly message: string;
  readonly path?: readonly (string | number)[];
  readonly extensions?: Readonly<Record<string, unknown>>;
}

interface Details {
  readonly errors?: readonly GraphqlError[] | undefined;
  readonly data?: unknown;
  readonly retryAfter?: number | undefined;
  readonly correlationId?: string | undefined;
  readonly cause?: unknown;
}

/** An operation that failed. Decide by `code`; messages may change. */
export class PlinthClientError extends Error {
  /** The code of the first error. */
  readonly code: PlinthErrorCode;
  /** The arguments or input fields at fault, by their GraphQL names. */
  readonly fields: readonly string[];
  /** Says what is allowed, or what to do. */
  readonly hint: string | undefined;
  /** Seconds to wait before the next attempt. */
  readonly retryAfter: number | undefined;
  /** Identifies the request in the server's log and audit rows. */
  readonly correlationId: string | undefined;
  /** All errors of the answer. */
  readonly errors: readonly GraphqlError[];
  /** The parts of the answer that succeeded. */
  readonly data: unknown;

  constructor(code: PlinthErrorCode, message: string, details: Details = {}) {
    super(message, { cause: details.cause });
    this.name = "PlinthClientError";
    const { errors = [], data, retryAfter, correlationId } = details;
    const extensions = errors[0]?.extensions;
    this.code = code;
    this.errors = errors;
    this.data = data;
    this.fields = errors.flatMap(({ extensions }) => textOf(extensions?.field) ?? []);
    this.hint = textOf(extensions?.hint);
    this.retryAfter = retryAfter ?? (code === "RATE_LIMITED" ? secondsOf(this.hint) : undefined);
    this.correlationId = correlationId;
  }

  /** Makes one error of all errors of an answer. */
  static of(errors: readonly GraphqlError[], details: Omit<Details, "errors"> = {}): PlinthClientError {
    const [first] = errors;
    return new PlinthClientError(codeOf(first), first?.message ?? "Unknown error", { ...details, errors });
  }
}

/** The code of an error; a code that this version does not know counts as INTERNAL. */
export function codeOf(error: GraphqlError | undefined): PlinthErrorCode {
  const code = error?.extensions?.code as PlinthErrorCode;
  return (SERVER_ERROR_CODES as readonly string[]).includes(code) ? code : "INTERNAL";
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** The hint of RATE_LIMITED names the seconds to wait. */
function secondsOf(hint: string | undefined): number | undefined {
  const number = hint?.match(/\d+/)?.[0];
  return number === undefined ? undefined : Number(number);
}
