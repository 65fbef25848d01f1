import { currentPlans } from "../billing/plans.ts";
import { subscriptionCall } from "../billing/subscriptions.ts";
import type { AnyStep, Context, Loss, Pending, Row } from "../mapping.ts";
import { ref } from "../references.ts";
import { accountsStep } from "../users/accounts-step.ts";

const accounts = accountsStep({
  relation: "users",
  key: ["id"],
  columns: {
    id: "id",
    username: "text",
    email: "text",
    hashed_password: "text",
    is_active: "boolean",
    is_verified: "boolean",
    role: "text",
    tier: "text",
    created_at: "time",
    updated_at: "time",
    last_login_at: "time?",
    failed_login_attempts: "integer?",
    locked_until: "time?",
    password_changed_at: "time?",
    email_verified_at: "time?",
    profile_data: "json?",
    preferences: "json?",
    metadata: "json?",
  },
  account: (row) => ({
    name: row.username,
    email: row.email,
    password: row.hashed_password ? { hash: row.hashed_password } : null,
    status: row.is_active === false ? "disabled" : "active",
    emailVerified: row.is_verified === true ? (row.email_verified_at ?? true) : null,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    lastLoginAt: row.last_login_at,
    failedLoginAttempts: row.failed_login_attempts,
    lockedUntil: row.locked_until,
    passwordChangedAt: row.password_changed_at,
    profileData: row.profile_data,
    preferences: row.preferences,
    metadata: row.metadata,
  }),
});

/** Ids here of the roles and plans that the columns role and tier name. */
interface Names {
  readonly accounts: unknown;
  readonly roles: ReadonlyMap<string, string>;
  readonly plans: ReadonlyMap<string, string>;
}

/** The document's names of columns that accounts of all systems have. */
const COLUMNS: Readonly<Record<string, string>> = { password_hash: "hashed_password" };

/** Each account has the role `user` and the plan `free` from the start. */
const DEFAULT_ROLE = "user";
const DEFAULT_TIER = "free";

/** Cedrina keeps an account's role and plan in its row. */
export const users: AnyStep = {
  ...accounts,
  targets: [
    ...accounts.targets,
    { table: "access.user_roles", write: "insert", unverified: ["granted_at"] },
    {
      // The document has no period: the plan's first one begins with the import.
      sql: subscriptionCall.sql,
      check: `select e.n from jsonb_to_recordset($1) e (n integer, "values" jsonb)
        where not exists (
          select from billing.user_subscriptions s
          where s.user_id = (e."values" ->> 'user_id')::uuid and s.plan_id = (e."values" ->> 'plan_id')::uuid
        )`,
    },
  ],
  prepare: async (rows: readonly Pending<Row>[], context: Context): Promise<Names> => ({
    accounts: await accounts.prepare?.(rows, context),
    roles: await rolesOf(context),
    plans: await currentPlans(context.client),
  }),
  map: async (row: Row, names: Names, pending: Pending<Row>) => {
    const mapped = await accounts.map(row, names.accounts, pending);
    if ("omitted" in mapped) return mapped;
    const losses: Loss[] = (mapped.losses ?? []).map((loss: Loss) => ({
      ...loss,
      column: COLUMNS[loss.column] ?? loss.column,
    }));
    const user_id = ref("users", pending.key);
    const idOf = (column: "role" | "tier", ids: ReadonlyMap<string, string>, ofAll: string, suffix = "") => {
      const name = String(row[column] ?? ofAll).toLowerCase();
      if (name === ofAll) return undefined;
      const id = ids.get(`${name}${suffix}`);
      if (id === undefined)
        losses.push({ column, reason: "does not exist here: create it, and grant it", detail: name });
      return id;
    };
    const role_id = idOf("role", names.roles, DEFAULT_ROLE);
    const plan_id = idOf("tier", names.plans, DEFAULT_TIER, " monthly");
    return {
      values: [
        ...mapped.values,
        role_id === undefined
          ? null
          : { user_id, role_id, ...(row.created_at ? { granted_at: row.created_at } : {}) },
        plan_id === undefined ? null : { user_id, plan_id, status: "active", started_at: row.created_at },
      ],
      losses,
    };
  },
};

async function rolesOf({ client }: Context): Promise<Map<string, string>> {
  const { rows } = await client.query<{ role_name: string; id: string }>(
    "select role_name, id from access.roles",
  );
  return new Map(rows.map(({ role_name, id }) => [role_name, id]));
}
