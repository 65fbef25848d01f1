import { CLASSES, findUnclassifiedColumns } from "../../database/unclassified-columns.ts";
import { findUserDataGaps, type UserDataGap } from "../../database/user-data-gaps.ts";
import { type CheckGroup, fail, ok, warn } from "./check.ts";

/** Checks that an application's tables let accounts be deleted, and that exports and deletions include their rows. */
export const checkUserData: CheckGroup = async ({ client }) => {
  const gaps = await findUserDataGaps(client);
  const of = (...kinds: UserDataGap["kind"][]) =>
    gaps.filter(({ kind }) => kinds.includes(kind)).map(({ table, reason }) => `${table}: ${reason}`);
  const unclassified = await findUnclassifiedColumns(client);
  const [blocking, undeclared, notExported] = [
    of("blocks"),
    of("undeclared"),
    of("not exported", "of another owner"),
  ];
  return [
    blocking.length === 0
      ? ok("account-deletion", "No foreign key blocks the deletion of an account.")
      : fail(
          "account-deletion",
          "Accounts with rows in some tables cannot be deleted.",
          "Give each of these foreign keys on delete cascade or on delete set null.",
          blocking,
        ),
    ...(undeclared.length === 0
      ? []
      : [
          warn(
            "undeclared-user-data",
            "The rows of deleted accounts stay in some tables.",
            "Add a foreign key to identity.users, or comment on the column with @userId delete, clear or keep.",
            undeclared,
          ),
        ]),
    ...(unclassified.length === 0
      ? []
      : [
          warn(
            "unclassified-user-data",
            "Columns of some tables have no personal-data class.",
            `Comment on each column with @personalData and one of ${CLASSES.join(", ")}.`,
            unclassified,
          ),
        ]),
    ...(notExported.length === 0
      ? []
      : [
          warn(
            "data-exports",
            "Exports leave out some tables that refer to users.",
            "Add a column user_id or on delete cascade, let Plinth's owner own the table, or comment on it with @dataExport omit: reason.",
            notExported,
          ),
        ]),
  ];
};
