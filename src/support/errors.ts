/**
 * An error that the user can act on. The command line prints `message` and `hint` without a stack and exits with `exitCode`. Any
 * other error is a bug and is printed with its stack.
 */
export class PlinthError extends Error {
  readonly code: string;
  readonly hint: string | undefined;
  /** The invalid input field, if there is one. */
  readonly field: string | undefined;
  readonly exitCode: number;

  constructor(
    code: string,
    message: string,
    options: { hint?: string; field?: string; cause?: unknown; exitCode?: number } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = "PlinthError";
    this.code = code;
    this.hint = options.hint;
    this.field = options.field;
    this.exitCode = options.exitCode ?? 1;
  }
}
