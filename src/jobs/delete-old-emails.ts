import { inBatches } from "./job.ts";

/** Deletes messages that were sent a week ago or failed a month ago: their addresses and names are personal data. */
export const deleteOldEmails = inBatches("select private.delete_old_emails($1) as handled", 1_000);
