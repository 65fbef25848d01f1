export interface Rule {
  readonly ptype: string;
  readonly values: readonly string[];
}

/** A request, and the definitions to ask with. */
export interface Request {
  readonly values: readonly unknown[];
  readonly context: Context;
}

/** The names of the definitions of a request, as of node-casbin's EnforceContext. */
export interface Context {
  readonly r: string;
  readonly p: string;
  readonly e: string;
  readonly m: string;
}

export type Suffix = "" | "2";

export const contextOf = (suffix: Suffix): Context => ({
  r: `r${suffix}`,
  p: `p${suffix}`,
  e: `e${suffix}`,
  m: `m${suffix}`,
});

/** A model with its rules, and requests to ask of it. */
export interface Case {
  /** The kinds of its parts, such as "subject: role". */
  readonly tags: readonly string[];
  readonly definition: string;
  /** The same model with the conditions of its matchers in other orders. */
  readonly reordered: readonly string[];
  readonly rules: readonly Rule[];
  readonly requests: readonly Request[];
}
