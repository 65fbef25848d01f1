import { defineStep, type Loss } from "../mapping.ts";
import { ref } from "../references.ts";
import { known, objectOf } from "./known.ts";

/** Plinth's job deletes sessions that ended longer ago. */
const KEPT_DAYS = 90;
const MAX_DEVICE_INFO_BYTES = 2_048;

export const sessions = defineStep({
  relation: "sessions",
  key: ["id"],
  columns: {
    id: "id",
    user_id: "id",
    is_active: "boolean?",
    created_at: "time?",
    expires_at: "time",
    last_activity_at: "time?",
    client_ip: "text?",
    user_agent: "text?",
    device_info: "json?",
    security_context: "json?",
  },
  targets: [
    {
      table: "identity.user_sessions",
      write: "insert",
      // A trigger adds the platform and the address. The end of a session that was active is the time of the import.
      unverified: ["device_info", "security_context", "ended_at"],
    },
  ],
  map(row) {
    const now = new Date().toISOString();
    const isExpired = row.expires_at !== null && Date.parse(row.expires_at) <= Date.parse(now);
    const endedAt = isExpired
      ? row.expires_at!
      : row.is_active === false
        ? (row.last_activity_at ?? row.created_at ?? now)
        : now;
    if (Date.parse(endedAt) < Date.parse(now) - KEPT_DAYS * 86_400_000)
      return { omitted: `ended more than ${KEPT_DAYS} days ago` };
    const losses: Loss[] = ["session_token", "refresh_token"].map((column) => ({
      column,
      reason: "is not valid here: the user signs in again",
    }));
    let deviceInfo = objectOf("device_info", row.device_info, losses);
    if (deviceInfo && Buffer.byteLength(JSON.stringify(deviceInfo)) > MAX_DEVICE_INFO_BYTES) {
      losses.push({ column: "device_info", reason: "is larger than 2 kB" });
      deviceInfo = null;
    }
    return {
      values: [
        known({
          user_id: ref("users", row.user_id),
          created_at: row.created_at,
          authenticated_at: row.created_at,
          expires_at: row.expires_at,
          last_activity_at: row.last_activity_at ?? row.created_at,
          ended_at: endedAt,
          end_reason: isExpired ? "expired" : row.is_active === false ? "logout" : "ended_by_administrator",
          ip_address: row.client_ip,
          user_agent: row.user_agent,
          device_info: deviceInfo,
          security_context: objectOf("security_context", row.security_context, losses),
        }),
      ],
      losses,
    };
  },
});
