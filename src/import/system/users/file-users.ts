import type { SystemMapping } from "../mapping.ts";
import { accountsStep } from "./accounts-step.ts";

/** The accounts of any product, from a file with these columns; only id is required. docs/moving-in.md describes them. */
export function fileUsers(system: string): SystemMapping {
  return {
    system,
    title: system,
    steps: [
      accountsStep({
        relation: "users",
        key: ["id"],
        columns: {
          id: "id",
          username: "text?",
          email: "text?",
          display_name: "text?",
          avatar_url: "text?",
          password_hash: "text?",
          password_salt: "text?",
          hash_algorithm: "text?",
          password_changed_at: "time?",
          status: "text?",
          email_verified_at: "time?",
          phone_number: "text?",
          phone_verified_at: "time?",
          roles: "text?",
          locked_until: "time?",
          failed_login_attempts: "integer?",
          last_login_at: "time?",
          created_at: "time?",
          updated_at: "time?",
          profile_data: "json?",
          preferences: "json?",
          metadata: "json?",
        },
        account: (row) => ({
          name: row.username,
          email: row.email,
          displayName: row.display_name,
          avatarUrl: row.avatar_url,
          password: row.password_hash
            ? { hash: row.password_hash, salt: row.password_salt, algorithm: row.hash_algorithm }
            : null,
          passwordChangedAt: row.password_changed_at,
          ...statusOf(row.status),
          emailVerified: row.email_verified_at,
          phoneNumber: row.phone_number,
          phoneVerifiedAt: row.phone_verified_at,
          roles: (row.roles ?? "").split(","),
          lockedUntil: row.locked_until,
          failedLoginAttempts: row.failed_login_attempts,
          lastLoginAt: row.last_login_at,
          createdAt: row.created_at,
          updatedAt: row.updated_at,
          profileData: row.profile_data,
          preferences: row.preferences,
          metadata: row.metadata,
        }),
      }),
    ],
  };
}

const STATUSES = ["active", "disabled", "deleted"] as const;

/** An account of an unknown state must not sign in. */
function statusOf(text: string | null) {
  const status = STATUSES.find((each) => each === (text ?? "active").trim().toLowerCase());
  if (status) return { status };
  return {
    status: "disabled" as const,
    losses: [{ column: "status", reason: "must be active, disabled or deleted: the account is disabled" }],
  };
}
