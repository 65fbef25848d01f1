/** The outcome of what one role attempted. */
export interface Cell {
  /** Such as `table llm.chats`, `function llm.fork_chat(uuid, text)` or `query chats`. */
  readonly object: string;
  /** select, insert, update, delete, truncate, a column operation such as `select columns`, call or ask. */
  readonly operation: string;
  /** A role of the database or a user; see actors.ts. */
  readonly role: string;
  readonly outcome: string;
}

/** The statement was rejected for want of a privilege on the object. */
export const NO_PRIVILEGE = "-";

export const INSUFFICIENT_PRIVILEGE = "42501";
