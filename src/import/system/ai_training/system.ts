/** Name of the system in plinth.external_ids. */
export const SYSTEM = "ai_training";
