/** An error of usage that commander cannot see, such as two options that exclude each other. */
export class UsageError extends Error {}
