/** The schemas that hold Plinth's tables and functions, in the order in which people at a prompt find their names. */
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
