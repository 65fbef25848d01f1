import { inBatches } from "./job.ts";

/** Chains the commitments to new rows of the audit logs. A killed run leaves them for the next one. */
export const closeAuditBlocks = inBatches("select private.close_audit_block($1) as handled", 10_000);
