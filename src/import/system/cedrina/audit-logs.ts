import { isObject } from "../../../support/is-object.ts";
import { announceAuditImport } from "../announce-audit-import.ts";
import { type Context, defineStep, type Loss } from "../mapping.ts";
import { optionalRef } from "../references.ts";
import { known, objectOf } from "./known.ts";

const SEVERITIES = ["debug", "info", "warning", "error", "critical"];

export const auditLogs = defineStep({
  relation: "audit_logs",
  key: ["id"],
  columns: {
    id: "id",
    user_id: "id?",
    event_type: "text",
    event_data: "json",
    client_ip: "text?",
    user_agent: "text?",
    correlation_id: "text?",
    created_at: "time?",
    severity: "text?",
    source: "text?",
    metadata: "json?",
  },
  targets: [{ table: "security.security_audit_log", write: "insert" }, announceAuditImport("cedrina")],
  prepare: (rows, context) =>
    timesOf(
      rows.flatMap(({ row, rowId }) => (row.created_at === null && rowId !== undefined ? [rowId] : [])),
      context,
    ),
  map(row, times, { rowId }) {
    const losses: Loss[] = [];
    const severity = (row.severity ?? "info").toLowerCase();
    if (!SEVERITIES.includes(severity))
      losses.push({ column: "severity", reason: "is unknown, so the event has the severity info" });
    if (row.created_at === null)
      losses.push({
        column: "created_at",
        reason: "is missing, so the event has the time of the import",
      });
    const eventType = eventTypeOf(row.event_type ?? "");
    // The same keys as in the view compat_cedrina.audit_logs.
    const kept = known({
      event_type: row.event_type === eventType ? null : row.event_type,
      event_data: isObject(row.event_data) ? null : row.event_data,
      source: row.source,
    });
    const metadata = objectOf("metadata", row.metadata, losses) ?? {};
    return {
      values: [
        known({
          // The table's key has the time beside the id.
          id: rowId,
          user_id: optionalRef("users", row.user_id),
          event_type: eventType,
          event_data: isObject(row.event_data) ? row.event_data : {},
          severity: SEVERITIES.includes(severity) ? severity : "info",
          ip_address: row.client_ip,
          user_agent: row.user_agent,
          correlation_id: row.correlation_id,
          metadata: Object.keys(kept).length > 0 ? { ...metadata, cedrina: kept } : metadata,
          created_at: row.created_at ?? times.get(rowId ?? ""),
        }),
        {},
      ],
      losses,
    };
  },
});

/** Plinth's form: lower case with underscores. The view shows the original. */
function eventTypeOf(text: string): string {
  const name = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "_")
    .replace(/^_+|_+$/g, "")
    .slice(0, 100);
  if (name === "") return "event";
  return /^[0-9]/.test(name) ? `event_${name}`.slice(0, 100) : name;
}

/** The times that imported events without one have got, by their ids here. */
async function timesOf(ids: readonly string[], { client }: Context): Promise<ReadonlyMap<string, string>> {
  if (ids.length === 0) return new Map();
  const { rows } = await client.query<{ id: string; at: string }>(
    "select l.id, l.created_at::text as at from security.security_audit_log l where l.id = any ($1)",
    [ids],
  );
  return new Map(rows.map(({ id, at }) => [id, at]));
}
