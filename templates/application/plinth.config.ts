import { defineApplication } from "plinth";
import { deleteExpiredNotes } from "./jobs/delete-expired-notes.ts";
import { NoteExcerptPlugin } from "./plugins/note-excerpt.ts";

export default defineApplication({
  schemas: ["app"],
  migrations: "./migrations",
  plugins: [NoteExcerptPlugin],
  jobs: [deleteExpiredNotes],
});
