import { type CheckGroup, fail, ok, skipped } from "./check.ts";

/** With PLINTH_DOCUMENTS=added and no document, a server rejects every operation. */
export const checkDocuments: CheckGroup = async ({ client, config, role }) => {
  if (config.http.documents === "any") return [];
  const check = "documents";
  if (role !== "owner")
    return [skipped(check, "Only the owner can count the added documents (PLINTH_OWNER_URL).")];
  // Without the migration, there is nothing to check.
  const found = await client.query("select where to_regclass('private.persisted_documents') is not null");
  if (found.rowCount === 0) return [];
  const { rows } = await client.query<{ count: number }>(
    "select count(*)::integer as count from private.persisted_documents",
  );
  const { count } = rows[0]!;
  return [
    count > 0
      ? ok(check, `${count} documents can be executed.`)
      : fail(
          check,
          "PLINTH_DOCUMENTS is added, but no document has been added: each operation is rejected.",
          "Add the documents of your clients with plinth documents add, or set PLINTH_DOCUMENTS=any.",
        ),
  ];
};
