import { type Logger, type LoggerOptions, pino } from "pino";

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

/** Time for which lines are collected, in ms. A system call per line would cost as much as the rest of it. */
const FLUSH_INTERVAL_MS = 100;
const BUFFER_BYTES = 8_192;

/**
 * Creates a structured logger: one JSON object per line on standard output. Secrets are removed at the top level and one below.
 * Errors are written at once, other lines within a tenth of a second and when the process exits.
 */
export function createLogger(level: string): Logger {
  const output = pino.destination({ dest: 1, sync: true, minLength: BUFFER_BYTES });
  setInterval(() => output.flushSync(), FLUSH_INTERVAL_MS).unref();
  process.once("exit", () => output.flushSync());
  const options: LoggerOptions = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: describeError },
    redact: {
      paths: SECRETS.flatMap((name) => [name, `*.${name}`]),
      censor: "[removed]",
    },
    hooks: {
      logMethod(args, method, number) {
        method.apply(this, args);
        if (number >= pino.levels.values.error!) output.flushSync();
      },
    },
  };
  return pino(options, output);
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
