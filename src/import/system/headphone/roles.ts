import { defineStep } from "../mapping.ts";
import { ref } from "../references.ts";
import { nameOfRole } from "../users/account-values.ts";

// Roles and permissions decide what Plinth's own functions allow, so an import creates none and widens none.
export const roles = defineStep({
  relation: "roles",
  key: ["id"],
  columns: { id: "id", role_name: "text" },
  targets: [
    {
      table: "access.roles",
      write: "find",
      by: ["role_name"],
      missing: "the role does not exist here: create it, and import again",
    },
  ],
  map: ({ role_name }) => ({ values: [{ role_name: nameOfRole(role_name) }] }),
});

export const permissions = defineStep({
  relation: "permissions",
  key: ["id"],
  columns: { id: "id", permission_name: "text" },
  targets: [
    {
      table: "access.permissions",
      write: "find",
      by: ["permission_name"],
      missing: "the permission does not exist here: create it, and import again",
    },
  ],
  map: ({ permission_name }) => ({ values: [{ permission_name: nameOfRole(permission_name) }] }),
});

export const rolePermissions = defineStep({
  relation: "role_permissions",
  key: ["role_id", "permission_id"],
  columns: { role_id: "id", permission_id: "id" },
  targets: [
    {
      table: "access.role_permissions",
      write: "find",
      by: ["role_id", "permission_id"],
      missing: "the role does not have the permission here: grant it if that is intended, and import again",
    },
  ],
  map: (row) => ({
    values: [{ role_id: ref("roles", row.role_id), permission_id: ref("permissions", row.permission_id) }],
  }),
});

export const userRoles = defineStep({
  relation: "user_roles",
  key: ["user_id", "role_id"],
  columns: { user_id: "id", role_id: "id" },
  targets: [{ table: "access.user_roles", write: "find or insert", by: ["user_id", "role_id"] }],
  map: (row) => ({ values: [{ user_id: ref("users", row.user_id), role_id: ref("roles", row.role_id) }] }),
});
