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
