/** The schemas with Plinth's tables and functions, in the order of the search path of people at a prompt. */
export const SCHEMAS = [
  "plinth",
  "identity",
  "access",
  "billing",
  "llm",
  "rooms",
  "learning",
  "security",
  "analytics",
  "private",
] as const;

/** The job queue's tables, which pg-boss reads and writes. */
export const JOB_SCHEMA = "plinth_jobs";
/** Its name before; a neighbour's pg-boss has its tables there by default. */
export const FORMER_JOB_SCHEMA = "pgboss";
