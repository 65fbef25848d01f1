import { createHash } from "node:crypto";

// Finds the rows of deleted accounts in the lines of an archive.

/** An account to erase. */
export interface Erased {
  readonly id: string;
  readonly marks: ReadonlySet<string>;
  /** Marks of the audit log's entries about sign-ins by a name, found in the archives of sign-ins. */
  readonly attempts: Set<string>;
}

type Entry = Readonly<Record<string, unknown>>;

export const SIGN_INS = "security.login_attempts";
const EVENTS = "security.security_audit_log";

/** By the id anywhere in the row, or by a mark. */
export function isOf(log: string, line: string, account: Erased): boolean {
  if (line.includes(account.id)) return true;
  if (log === SIGN_INS) return isByName(line, account);
  if (log !== EVENTS || account.marks.size + account.attempts.size === 0) return false;
  if (!line.includes('"login_failed"')) return false;
  const { event_type, user_id, actor_id, created_at, ip_address, user_agent }: Entry = JSON.parse(line);
  if (event_type !== "login_failed" || user_id !== null || actor_id !== null) return false;
  // Cleaned already, if nothing is left of the person.
  if (ip_address === null && user_agent === null) return false;
  const mark = markOf(account, `${created_at} ${ip_address}`);
  return account.marks.has(mark) || account.attempts.has(mark);
}

export function isByName(line: string, account: Erased): boolean {
  if (account.marks.size === 0) return false;
  const { user_id, email }: Entry = JSON.parse(line);
  return user_id === null && typeof email === "string" && account.marks.has(markOf(account, email));
}

/** As private.archive_marks makes them. */
export function markOf({ id }: Erased, text: string): string {
  return createHash("sha256")
    .update(id + text)
    .digest("hex");
}
