import { isObject } from "../../../support/is-object.ts";
import { announceAuditImport } from "../announce-audit-import.ts";
import { type AnyStep, defineStep, type Loss } from "../mapping.ts";
import { optionalRef } from "../references.ts";
import { ROLL_UP_DAY } from "./roll-up.ts";
import { SYSTEM } from "./system.ts";
import { codeFrom } from "./words.ts";

/** The id is a part of the key of a partitioned table, by which an imported row is read back. */
const keyOf = (rowId: string | undefined) => (rowId === undefined ? {} : { id: rowId });

const RESULTS: Readonly<Record<string, string>> = {
  success: "success",
  successful: "success",
  failed: "failed",
  failure: "failed",
  locked: "locked",
  blocked: "locked",
  challenged: "challenged",
};
const REASONS: Readonly<Record<string, string>> = {
  invalid_password: "wrong_password",
  unknown_user: "unknown_account",
  suspended: "account_disabled",
};

export const loginAttempts: AnyStep = defineStep({
  relation: "login_attempts",
  key: ["id"],
  keepsId: true,
  columns: {
    id: "uuid",
    user_id: "id?",
    email: "text?",
    ip_address: "text?",
    user_agent: "text?",
    status: "text",
    failure_reason: "text?",
    created_at: "time",
  },
  targets: [{ table: "security.login_attempts", write: "insert" }, ROLL_UP_DAY],
  prepare: (_rows, { privacyMode }) => Promise.resolve({ privacyMode }),
  map(row, { privacyMode }, { rowId }) {
    const status = RESULTS[row.status ?? ""];
    if (status === undefined) return { omitted: "the status is unknown" };
    const losses: Loss[] = [];
    // A name without an account may be a password that was typed into the wrong field.
    const isAddress = row.email === null || /^[^@\s]+@[^@\s]+$/.test(row.email);
    if (!isAddress) losses.push({ column: "email", reason: "is not an address" });
    else if (privacyMode && row.email !== null)
      losses.push({ column: "email", reason: "this server stores no addresses" });
    return {
      values: [
        {
          ...keyOf(rowId),
          user_id: optionalRef("users", row.user_id),
          email: isAddress && !privacyMode ? (row.email?.toLowerCase() ?? null) : null,
          ip_address: row.ip_address,
          user_agent: row.user_agent === null ? null : row.user_agent.slice(0, 1000),
          status,
          failure_reason:
            status === "success" ? null : (REASONS[row.failure_reason ?? ""] ?? row.failure_reason),
          created_at: row.created_at,
        },
        { time: row.created_at },
      ],
      losses,
    };
  },
});

const SEVERITIES = new Set(["debug", "info", "warning", "error", "critical"]);

export const securityEvents: AnyStep = defineStep({
  relation: "security_audit_log",
  key: ["id"],
  keepsId: true,
  columns: {
    id: "uuid",
    user_id: "id?",
    event_type: "text",
    event_data: "json?",
    severity: "text?",
    ip_address: "text?",
    user_agent: "text?",
    created_at: "time",
  },
  targets: [{ table: "security.security_audit_log", write: "insert" }, announceAuditImport(SYSTEM)],
  map(row, _prepared, { rowId }) {
    const losses: Loss[] = [];
    const type = codeFrom(row.event_type ?? "", 100);
    if (type === undefined) return { omitted: "event_type needs a letter" };
    const severity = row.severity === "fatal" ? "critical" : (row.severity ?? "info");
    if (!SEVERITIES.has(severity))
      losses.push({ column: "severity", reason: "is unknown, so the event is a warning" });
    return {
      values: [
        {
          ...keyOf(rowId),
          user_id: optionalRef("users", row.user_id),
          event_type: type,
          event_data: eventData(row.event_data, losses),
          severity: SEVERITIES.has(severity) ? severity : "warning",
          source: SYSTEM,
          ip_address: row.ip_address,
          user_agent: row.user_agent === null ? null : row.user_agent.slice(0, 1000),
          metadata: { imported_from: SYSTEM },
          created_at: row.created_at,
        },
        {},
      ],
      losses,
    };
  },
});

export const auditTrail: AnyStep = defineStep({
  relation: "audit_trail",
  key: ["id"],
  keepsId: true,
  columns: {
    id: "uuid",
    table_name: "text",
    record_id: "id",
    operation: "text",
    old_values: "json?",
    new_values: "json?",
    changed_by: "id?",
    created_at: "time",
  },
  targets: [{ table: "security.audit_trail", write: "insert" }, announceAuditImport(SYSTEM)],
  map(row, _prepared, { rowId }) {
    const losses: Loss[] = [];
    const before = valuesOf(row.old_values, "old_values", losses);
    const after = valuesOf(row.new_values, "new_values", losses);
    // The person concerned, so that an erasure reaches the row.
    const person = row.table_name === "users" ? row.record_id : ((after ?? before)?.user_id ?? null);
    return {
      values: [
        {
          ...keyOf(rowId),
          table_name: `${SYSTEM}.${row.table_name}`,
          operation: row.operation,
          row_key: { id: row.record_id },
          user_id: optionalRef("users", typeof person === "string" ? person : null),
          actor_id: optionalRef("users", row.changed_by),
          changed_columns: row.operation === "UPDATE" ? Object.keys(after ?? before ?? {}) : null,
          old_values: row.operation === "INSERT" ? null : before,
          new_values: row.operation === "DELETE" ? null : after,
          transaction_number: 0,
          source: SYSTEM,
          created_at: row.created_at,
        },
        {},
      ],
      losses,
    };
  },
});

type Values = Record<string, unknown>;

/** An object, as Plinth's events have it. */
function eventData(json: unknown, losses: Loss[]): Values {
  if (json === null) return {};
  return withoutSecrets(isObject(json) ? json : { value: json }, "event_data", losses);
}

const valuesOf = (json: unknown, column: string, losses: Loss[]): Values | null =>
  isObject(json) ? withoutSecrets(json, column, losses) : null;

/** Plinth's logs contain no secrets, and later ones would be copied into archives. */
function withoutSecrets(values: Values, column: string, losses: Loss[]): Values {
  const kept = Object.entries(values).filter(([name]) => !/password|secret|token|hash|salt/i.test(name));
  if (kept.length < Object.keys(values).length) losses.push({ column, reason: "a secret was left out" });
  return Object.fromEntries(kept);
}
