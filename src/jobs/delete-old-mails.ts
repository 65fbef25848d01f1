import { inBatches } from "./job.ts";

/** Removes messages that were sent a week ago or failed a month ago: addresses and names nobody needs any more. */
export const deleteOldMails = inBatches("select private.delete_old_mails($1) as handled", 1_000);
