import { type Logger, pino } from "pino";

/** A safety net: nothing logs these on purpose. */
const SECRETS = [
  "authorization",
  "cookie",
  "password",
  "currentPassword",
  "newPassword",
  "token",
  "accessToken",
  "refreshToken",
  "flowToken",
  "callbackUrl",
  "clientSecret",
  "variables",
];

/**
 * Creates a structured logger: one JSON object per line on standard output. Secrets are removed at the top level and one below.
 */
export function createLogger(level: string): Logger {
  return pino({
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: describeError },
    redact: {
      paths: SECRETS.flatMap((name) => [name, `*.${name}`]),
      censor: "[removed]",
    },
  });
}

/**
 * Serializes an error without user data: PostgreSQL puts row values into `detail` and `where`, and the GraphQL and HTTP
 * libraries attach the request.
 */
export function describeError(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: String(error) };
  const { code, schema, table, column, constraint, routine } = error as Error & Record<string, unknown>;
  const { name: type, message, stack, cause } = error;
  return {
    ...{ type, message, stack, code, schema, table, column, constraint, routine },
    ...(cause === undefined ? {} : { cause: describeError(cause) }),
  };
}
