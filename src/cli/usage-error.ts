/** A usage error that commander cannot detect, such as two mutually exclusive options. */
export class UsageError extends Error {}
