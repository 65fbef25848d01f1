/**
 * An error a person can act on. The command line prints `message` and `hint` without a stack and leaves with
 * `exitCode`; anything that is not a PlinthError is a bug and is printed whole.
 */
export class PlinthError extends Error {
  readonly code: string;
  readonly hint: string | undefined;
  /** The input field at fault, when there is one. */
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
