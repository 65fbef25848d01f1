// The promises of the row policies, as statements that anyone can run: actor, action, outcome. The start of an access
// contract; test/schema/policy-mutation.test.ts proves that no policy can be broken without a failing probe.
// Column grants are lifted while probes run, so that only the policies decide.

/**
 * visitor; userless, for a token without a user; ada, who owns one of everything; or a user with one permission, named
 * after it. "ada as anonymous" has the claims of a user and the role of a visitor.
 */
type Actor = "visitor" | "ada" | string;
/** Rows seen or changed, or the SQLSTATE of the error. */
export type Outcome = number | string;
/** `given` changes rows first, as the administrator. */
export type Probe = readonly [actor: Actor, sql: string, expected: Outcome, given?: string];

export const DENIED = "42501";
