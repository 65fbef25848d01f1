import type { Call } from "./mapping.ts";

/**
 * Writes one event about the import, for each transaction: `plinth audit verify` then accepts the rows of that transaction, which are
 * older than it.
 */
export const announceAuditImport = (system: string): Call => ({
  sql: `with announced as materialized (select private.announce_audit_import('${system}'))
    select i.n from jsonb_to_recordset($1) i (n integer) cross join announced`,
});
