import type { BackupSettings } from "../config/backup-settings.ts";
import type { Database } from "../database/database.ts";
import { PlinthError } from "../support/errors.ts";
import { awaitArchived } from "./await-archived.ts";
import { listPoints, type RestorePoint, writePoint } from "./records.ts";
import { withArchivingServer } from "./superuser.ts";

/**
 * Creates a named point in the WAL and waits until it is archived.
 * @throws PlinthError POINT_NAME_INVALID, POINT_EXISTS, and what withArchivingServer and awaitArchived throw
 */
export async function createPoint(
  database: Database,
  settings: BackupSettings,
  name: string,
  signal: AbortSignal,
): Promise<RestorePoint> {
  const { folder } = settings;
  // "latest" and times mean something else to restore --to.
  if (!/^[A-Za-z][A-Za-z0-9_.-]{0,62}$/.test(name) || name === "latest")
    throw new PlinthError("POINT_NAME_INVALID", `${JSON.stringify(name)} cannot be the name of a point.`, {
      hint: "Use up to 63 letters, digits, dots, dashes and _, beginning with a letter; latest is reserved.",
    });
  return withArchivingServer(database, settings, async (client) => {
    if (listPoints(folder).some((point) => point.name === name)) throw pointExists(name);
    // A transaction with an id leaves a commit in the WAL. Without one, an idle server could not be restored to a time before the point:
    // a recovery ends at the first commit after its time.
    const { rows } = await client.query<{ lsn: string; timeline: number }>(
      `select
         pg_create_restore_point($1) as lsn,
         pg_current_xact_id(),
         ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer as timeline`,
      [name],
    );
    const { lsn, timeline } = rows[0]!;
    await awaitArchived(client, folder, { timeline, lsn }, signal);
    const point = { name, at: new Date().toISOString(), timeline, lsn };
    if (!writePoint(folder, point)) throw pointExists(name);
    return point;
  });
}

function pointExists(name: string): PlinthError {
  return new PlinthError("POINT_EXISTS", `There is already a point named ${name}.`, {
    hint: "Choose another name; plinth backup list shows the points.",
  });
}
