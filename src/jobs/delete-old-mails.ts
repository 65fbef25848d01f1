import { inBatches } from "./job.ts";

/** Deletes messages that were sent a week ago or failed a month ago: their addresses and names are personal data. */
export const deleteOldMails = inBatches("select private.delete_old_mails($1) as handled", 1_000);
