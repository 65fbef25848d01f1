import { statfs } from "node:fs/promises";
import { type CheckGroup, type DoctorContext, type Finding, fail, ok, skipped, warn } from "./check.ts";

/** PostgreSQL refuses new transactions about 3,000,000 before 2^31. */
const IDS = { warn: 1_000_000_000, fail: 1_900_000_000 };
/** WAL that an inactive slot may hold before it is worth a warning. */
const MUCH_WAL = 1_000_000_000;
const FREE_SHARE = { warn: 0.1, fail: 0.02 };

interface Storage {
  xid_age: number;
  multixact_age: number;
  slots: { name: string; bytes: number }[] | null;
  lost_slots: string[];
  archive_mode: string;
  archive_fails: boolean | null;
}

/** Checks what fills a disk or stops a database: transaction ids, replication slots, the WAL archive and the embedded server's disk. */
export const checkStorage: CheckGroup = async (context) => {
  const { rows } = await context.client.query<Storage>(
    `select
       age(d.datfrozenxid) as xid_age,
       mxid_age(d.datminmxid) as multixact_age,
       (
         select json_agg(json_build_object(
           'name', s.slot_name,
           'bytes', case when pg_is_in_recovery() then 0 else pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn) end
         ))
         from pg_replication_slots s
         where not s.active and s.restart_lsn is not null
       ) as slots,
       array(select s.slot_name::text from pg_replication_slots s where s.wal_status = 'lost') as lost_slots,
       current_setting('archive_mode') as archive_mode,
       coalesce(a.last_failed_time > coalesce(a.last_archived_time, '-infinity'), false) as archive_fails
     from pg_database d, pg_stat_archiver a
     where d.datname = current_database()`,
  );
  const storage = rows[0]!;
  return [checkIds(storage), checkSlots(storage), ...checkArchive(storage), ...(await checkDisk(context))];
};

function checkIds({ xid_age, multixact_age }: Storage): Finding {
  const check = "transaction-ids";
  const age = Math.max(xid_age, multixact_age);
  const message = `The oldest transaction id is ${age} old; at about 2,100,000,000 the database stops.`;
  const hint =
    "Run VACUUM (FREEZE) as the owner, and look for what stops autovacuum: long transactions, replication slots, prepared transactions.";
  if (age >= IDS.fail) return fail(check, message, hint);
  return age >= IDS.warn ? warn(check, message, hint) : ok(check, "Transaction ids are not running out.");
}

function checkSlots({ slots, lost_slots }: Storage): Finding {
  const check = "replication-slots";
  if (lost_slots.length > 0)
    return warn(
      check,
      "Some replication slots have lost the WAL that they need.",
      "Set up their replicas again, and drop the slots with pg_drop_replication_slot.",
      lost_slots,
    );
  const idle = (slots ?? []).filter(({ bytes }) => bytes >= MUCH_WAL);
  return idle.length === 0
    ? ok(check, "No inactive replication slot holds much WAL.")
    : warn(
        check,
        "Inactive replication slots hold WAL until the disk is full.",
        "Start their replicas again, or drop the slots with pg_drop_replication_slot.",
        idle.map(({ name, bytes }) => `${name}: ${Math.round(bytes / 1e6)} MB`),
      );
}

function checkArchive({ archive_mode, archive_fails }: Storage): Finding[] {
  const check = "wal-archive";
  if (archive_mode === "off") return [];
  return [
    archive_fails
      ? fail(
          check,
          "The last attempt to archive WAL failed: backups cannot reach the present, and the disk fills.",
          "Read the server's log for the error of archive_command, and correct it.",
        )
      : ok(check, "WAL is archived."),
  ];
}

/** The disk of an external server cannot be seen from here. */
async function checkDisk({ config, database, freeSpace = readFreeSpace }: DoctorContext): Promise<Finding[]> {
  const check = "disk";
  if (database.kind !== "embedded")
    return [skipped(check, "The disk of an external server cannot be seen from here; watch it there.")];
  const { free, size } = await freeSpace(config.dataDirectory);
  const share = free / size;
  const message = `The disk with ${config.dataDirectory} has ${Math.round(free / 1e6)} MB free (${Math.round(share * 100)} %).`;
  const hint = "Free some space, or move PLINTH_DATA to a larger disk while Plinth is stopped.";
  if (share < FREE_SHARE.fail) return [fail(check, message, hint)];
  return [share < FREE_SHARE.warn ? warn(check, message, hint) : ok(check, message)];
}

async function readFreeSpace(folder: string): Promise<{ free: number; size: number }> {
  const { bavail, blocks, bsize } = await statfs(folder);
  return { free: bavail * bsize, size: blocks * bsize };
}
