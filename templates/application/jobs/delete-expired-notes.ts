import type { JobDefinition } from "plinth";

/** Deletes notes whose time is over. The function limits what the worker's role may do to exactly this. */
export const deleteExpiredNotes: JobDefinition = {
  name: "delete-expired-notes",
  cron: "15 * * * *",
  reason: "A note disappears within an hour of its time.",
  async run({ query }) {
    const [row] = await query("select app_private.delete_expired_notes() as deleted", []);
    return { deleted: Number(row?.deleted) };
  },
};
