/**
 * Settings that Plinth's SQL and its reading of results depend on. An administrator may have chosen others for the server, the
 * database or the role, so each connection sets them. They have PostgreSQL's own defaults, and times are in UTC.
 */
const DEFAULTS: Readonly<Record<string, string>> = {
  // Under a stricter level, two transactions that meet fail with 40001 instead of waiting for each other.
  default_transaction_isolation: "read committed",
  // Off makes statements under policies fail instead of leaving out rows.
  row_security: "on",
  // They decide the meaning of a literal, a comparison with null and a null in an array, also in the bodies of functions.
  standard_conforming_strings: "on",
  transform_null_equals: "off",
  array_nulls: "on",
  // How values and definitions are written as text.
  timezone: "UTC",
  datestyle: "ISO, MDY",
  intervalstyle: "postgres",
  bytea_output: "hex",
  extra_float_digits: "1",
  quote_all_identifiers: "off",
};

/** Sent once on each new connection, as SET statements: a standby can run these under any default isolation level. */
export const SET_SESSION_DEFAULTS = Object.entries(DEFAULTS)
  .map(([name, value]) => `set ${name} = '${value}'`)
  .join("; ");
