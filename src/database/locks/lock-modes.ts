/**
 * PostgreSQL's table lock modes, weakest first, each with the modes that it excludes
 * (https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES).
 */
const CONFLICTS = {
  "ACCESS SHARE": ["ACCESS EXCLUSIVE"],
  "ROW SHARE": ["EXCLUSIVE", "ACCESS EXCLUSIVE"],
  "ROW EXCLUSIVE": ["SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"],
  "SHARE UPDATE EXCLUSIVE": [
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
  ],
  SHARE: ["ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"],
  "SHARE ROW EXCLUSIVE": [
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
  ],
  EXCLUSIVE: [
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
  ],
  "ACCESS EXCLUSIVE": [
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
  ],
} as const;

export type LockMode = keyof typeof CONFLICTS;

/** All modes, weakest first. */
export const LOCK_MODES = Object.keys(CONFLICTS) as LockMode[];

/** `AccessShareLock`, as pg_locks has it, as `ACCESS SHARE`. */
export function lockMode(name: string): LockMode {
  return name
    .replace(/Lock$/, "")
    .replaceAll(/(?<=[a-z])(?=[A-Z])/g, " ")
    .toUpperCase() as LockMode;
}

export function conflicts(one: LockMode, other: LockMode): boolean {
  return (CONFLICTS[one] as readonly LockMode[]).includes(other);
}

/** The statements of an application that wait while the lock is held. */
export function blockedBy(mode: LockMode): "reads and writes" | "writes" | "schema changes" | "nothing" {
  if (conflicts(mode, "ACCESS SHARE")) return "reads and writes";
  if (conflicts(mode, "ROW EXCLUSIVE")) return "writes";
  return conflicts(mode, "SHARE UPDATE EXCLUSIVE") ? "schema changes" : "nothing";
}
