import { type AnyStep, defineStep, type Loss } from "../mapping.ts";
import { optionalRef, ref } from "../references.ts";
import type { Account } from "../users/account.ts";
import { accountsStep } from "../users/accounts-step.ts";
import { passwordToStore } from "../users/password.ts";
import { codeFrom } from "./words.ts";

const STATES: Readonly<Record<string, Account["status"]>> = {
  active: "active",
  suspended: "disabled",
  disabled: "disabled",
  deleted: "deleted",
};

const accounts: AnyStep = accountsStep({
  relation: "users",
  key: ["id"],
  keepsId: true,
  columns: {
    id: "uuid",
    username: "text",
    email: "text",
    password_hash: "text?",
    first_name: "text?",
    last_name: "text?",
    phone: "text?",
    account_status: "text",
    email_verified_at: "time?",
    phone_verified_at: "time?",
    failed_login_attempts: "integer?",
    locked_until: "time?",
    last_login_at: "time?",
    password_changed_at: "time?",
    created_at: "time",
    updated_at: "time?",
    deleted_at: "time?",
  },
  account(row) {
    const losses: Loss[] = [];
    let status = STATES[row.account_status ?? ""];
    // An account waits for its owner to verify the address, which Plinth's accounts do, too, or for an approval.
    if (status === undefined && row.account_status === "pending" && row.email_verified_at === null)
      status = "active";
    else if (status === undefined) {
      status = "disabled";
      losses.push({ column: "account_status", reason: "does not exist here, so the account is disabled" });
    }
    if (row.deleted_at !== null && row.deleted_at !== row.updated_at)
      losses.push({ column: "deleted_at", reason: "a deleted account has only the time of its last change" });
    return {
      name: row.username,
      email: row.email,
      password: row.password_hash ? { hash: row.password_hash } : null,
      status,
      emailVerified: row.email_verified_at,
      phoneNumber: row.phone,
      phoneVerifiedAt: row.phone_verified_at,
      failedLoginAttempts: row.failed_login_attempts,
      lockedUntil: row.locked_until,
      lastLoginAt: row.last_login_at,
      passwordChangedAt: row.password_changed_at,
      profileData: Object.fromEntries(
        Object.entries({ first_name: row.first_name, last_name: row.last_name }).filter(
          ([, name]) => name !== null,
        ),
      ),
      createdAt: row.created_at,
      updatedAt: row.updated_at,
      losses,
    };
  },
});

/** In privacy mode no name of a person is stored in the clear. */
export const users: AnyStep = {
  ...accounts,
  async map(row, prepared, pending) {
    const mapped = await accounts.map(row, prepared, pending);
    if (!prepared.privacyMode || "omitted" in mapped) return mapped;
    const [user, ...others] = mapped.values;
    const names = ["first_name", "last_name"].filter((column) => row[column] !== null);
    return {
      values: [{ ...user, profile_data: {} }, ...others],
      losses: [
        ...(mapped.losses ?? []),
        ...names.map((column) => ({ column, reason: "this server stores no names" })),
      ],
    };
  },
};

/** Roles that exist here under the same name; permissions are given here, so an unknown role gives none and is left out. */
export const roles: AnyStep = defineStep({
  relation: "roles",
  key: ["id"],
  columns: { id: "id", name: "text" },
  targets: [
    {
      table: "access.roles",
      write: "find",
      by: ["role_name"],
      missing: "the role does not exist here: create it, and import again",
    },
  ],
  map: (row) => ({ values: [{ role_name: codeFrom(row.name ?? "", 50) ?? "" }] }),
});

export const userRoles: AnyStep = defineStep({
  relation: "user_roles",
  key: ["user_id", "role_id"],
  columns: { user_id: "id", role_id: "id", granted_by: "id?", granted_at: "time", expires_at: "time?" },
  // Each account has the role `user` already.
  targets: [
    {
      table: "access.user_roles",
      write: "find or insert",
      by: ["user_id", "role_id"],
      unverified: ["granted_by", "granted_at", "expires_at"],
    },
  ],
  map: (row) => ({
    values: [
      {
        user_id: ref("users", row.user_id),
        role_id: ref("roles", row.role_id),
        granted_by: optionalRef("users", row.granted_by),
        granted_at: row.granted_at,
        expires_at: row.expires_at,
      },
    ],
  }),
});

export const passwordHistory: AnyStep = defineStep({
  relation: "password_history",
  key: ["id"],
  keepsId: true,
  columns: { id: "uuid", user_id: "id", password_hash: "text", created_at: "time" },
  targets: [{ table: "private.password_history", write: "insert" }],
  async map(row, _prepared, { rowId }) {
    const values = { user_id: ref("users", row.user_id), created_at: row.created_at };
    // A weak hash is wrapped, which is slow and gives another text each time.
    if (rowId !== undefined) return { values: [values] };
    const password = row.password_hash ? await passwordToStore({ hash: row.password_hash }) : undefined;
    if (password === undefined) return { omitted: "the hash has a format that cannot be compared" };
    return {
      values: [{ ...values, password_hash: password.hash, hash_algorithm: password.algorithm }],
    };
  },
});

/** The shortest and the longest time that Plinth accepts. */
const TIMEOUT = { min: 5, max: 43_200 };

export const securitySettings: AnyStep = defineStep({
  relation: "user_security_settings",
  key: ["user_id"],
  columns: {
    user_id: "id",
    two_factor_enabled: "boolean?",
    session_timeout_minutes: "integer?",
    allowed_networks: "json?",
    created_at: "time?",
    updated_at: "time?",
  },
  targets: [{ table: "identity.user_security_settings", write: "update", by: ["user_id"] }],
  map(row) {
    const losses: Loss[] = [];
    const timeout = row.session_timeout_minutes;
    const isAllowed = timeout === null || (timeout >= TIMEOUT.min && timeout <= TIMEOUT.max);
    if (!isAllowed)
      losses.push({ column: "session_timeout_minutes", reason: "must be from 5 to 43200 minutes" });
    if (row.two_factor_enabled)
      losses.push({
        column: "two_factor_secret",
        reason: "is a secret of the old system: the person sets up the second factor again",
      });
    return {
      values: [
        {
          user_id: ref("users", row.user_id),
          session_timeout_minutes: isAllowed ? timeout : null,
          allowed_networks: row.allowed_networks,
          ...(row.created_at === null ? {} : { created_at: row.created_at }),
          ...(row.updated_at === null ? {} : { updated_at: row.updated_at }),
        },
      ],
      losses,
    };
  },
});
