import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { explainFailure, explainFileError, explainOutput } from "../../src/database/embedded/explain.ts";
import { stageBinaries } from "../../src/database/embedded/staging.ts";
import { PlinthError } from "../../src/support/errors.ts";

const SITUATION = { dataDirectory: tmpdir(), port: 21999 };

/** Output of PostgreSQL 18.4 in each of these cases, without times and process numbers. */
test.each([
  [
    "BACKUP_DAMAGED",
    `LOG:  starting archive recovery
plinth-wal: fetch 000000010000000000000003 pg_wal/RECOVERYXLOG in /backups/wal: is damaged or cut off
FATAL:  could not restore file "000000010000000000000003" from archive: child process exited with exit code 200`,
  ],
  [
    "RESTORE_TARGET_NOT_REACHED",
    `LOG:  last completed transaction was at log time 2026-11-30 02:15:00.123456+00
FATAL:  recovery ended before configured recovery target was reached`,
  ],
  [
    "DATABASE_PORT_IN_USE",
    `LOG:  could not bind IPv4 address "127.0.0.1": Address already in use
HINT:  Is another postmaster already running on port 21999? If not, wait a few seconds and retry.
WARNING:  could not create listen socket for "127.0.0.1"
FATAL:  could not create any TCP/IP sockets`,
  ],
  [
    "DATABASE_PORT_FORBIDDEN",
    `LOG:  could not bind IPv4 address "127.0.0.1": Permission denied
WARNING:  could not create listen socket for "127.0.0.1"
FATAL:  could not create any TCP/IP sockets`,
  ],
  [
    "DISK_FULL",
    `running bootstrap script ... FATAL:  could not write to file "pg_wal/xlogtemp.17956": No space left on device
child process exited with exit code 1
initdb: removing contents of data directory "/proc/self/cwd"`,
  ],
  [
    "DISK_FULL",
    `running bootstrap script ... FATAL:  could not extend file "base/1/2675": wrote only 4096 of 8192 bytes at block 10
HINT:  Check free disk space.
PANIC:  cannot abort transaction 1, it was already committed
Aborted`,
  ],
  ["DISK_READ_ONLY", `FATAL:  could not create lock file "postmaster.pid": Read-only file system`],
  [
    "DATABASE_STILL_IN_USE",
    `FATAL:  pre-existing shared memory block (key 2244612, ID 294947) is still in use
HINT:  Terminate any old server processes associated with data directory "/proc/self/cwd".`,
  ],
  [
    "BINARIES_BROKEN",
    "postgres: error while loading shared libraries: libicui18n.so.60: cannot open shared object file: No such file or directory",
  ],
  [
    "DATA_INCOMPATIBLE",
    `FATAL:  database files are incompatible with server
DETAIL:  The data directory was initialized by PostgreSQL version 17, which is not compatible with this version 18.4.`,
  ],
  [
    "DATA_NOT_WRITABLE",
    `FATAL:  data directory "/proc/self/cwd" has wrong ownership
HINT:  The server must be started by the user that owns the data directory.`,
  ],
  [
    "DATA_DAMAGED",
    `LOG:  invalid checkpoint record
PANIC:  could not locate a valid checkpoint record at 0/1B83BC0`,
  ],
])("recognises %s in the output of PostgreSQL", (code, output) => {
  const error = explainOutput(output, SITUATION);
  expect(error).toMatchObject({ code, exitCode: 1, hint: expect.stringMatching(/\.$/) });
});

test("reports unknown output by its worst line", () => {
  const folder = mkdtempSync(join(tmpdir(), "plinth-explain-"));
  try {
    const error = explainFailure(
      "PostgreSQL did not start",
      `LOG:  starting PostgreSQL 18.4\nFATAL:  invalid value for parameter "port": "x"\nLOG:  database system is shut down`,
      { dataDirectory: folder },
    );
    expect(error.code).toBe("DATABASE_START_FAILED");
    expect(error.message).toContain(`invalid value for parameter "port"`);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.each([
  ["ENOSPC", "DISK_FULL"],
  ["EDQUOT", "DISK_FULL"],
  ["EROFS", "DISK_READ_ONLY"],
  ["EACCES", "DATA_NOT_WRITABLE"],
  ["ENOTDIR", "DATA_NOT_WRITABLE"],
])("maps the file system's %s to %s", (errno, code) => {
  const error = Object.assign(new Error(errno), { code: errno, path: SITUATION.dataDirectory });
  expect(explainFileError(error, SITUATION)).toMatchObject({ code, cause: error });
});

test("leaves other errors unchanged", () => {
  const bug = new TypeError("x is undefined");
  const own = new PlinthError("EACCES", "A sentence.");
  expect(explainFileError(bug, SITUATION)).toBe(bug);
  expect(explainFileError(own, SITUATION)).toBe(own);
});

test("runs no program from a place that others could have filled", () => {
  const folder = mkdtempSync(join(tmpdir(), "plinth-staging-"));
  try {
    expect(() => stageBinaries(folder, "programs", join(folder, "staged"))).toThrow(
      expect.objectContaining({ code: "STAGING_UNSAFE" }),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
