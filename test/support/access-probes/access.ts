import { RBAC_MODEL } from "./casbin-model.ts";
import { DENIED, type Probe } from "./probe.ts";
import { managed } from "./recurring.ts";

const ROLE = (name: string) => `select :ada, id from access.roles where role_name = '${name}'`;
const ROLE_MODEL = "select id, :hidden from access.roles where role_name = 'user'";

const ids =
  "(select id from access.roles where role_name = 'user'), (select id from access.permissions where permission_name = 'spare')";

export const ACCESS: Readonly<Record<string, readonly Probe[]>> = {
  "access.roles": [
    ...managed("access.roles", "role_name = 'spare'", "(role_name) values ('x')", "rank = 1"),
    ["manage_roles", "update access.roles set rank = 1 where role_name = 'manage_users'", 0],
    ["manage_roles", "delete from access.roles where role_name = 'manage_users'", 0],
  ],
  "access.permissions": [
    ...managed(
      "access.permissions",
      "permission_name = 'spare'",
      "(permission_name) values ('x')",
      "description = 'x'",
    ),
    ["manage_roles", "delete from access.permissions where permission_name = 'manage_users'", 0],
  ],
  "access.role_permissions": [
    ...managed(
      "access.role_permissions",
      "role_id = (select id from access.roles where role_name = 'spare')",
      `values (${ids})`,
    ),
    [
      "manage_roles",
      `insert into access.role_permissions values (${ids.replace("spare", "manage_users")})`,
      DENIED,
    ],
    [
      "manage_roles",
      "delete from access.role_permissions where role_id = (select id from access.roles where role_name = 'manage_users')",
      0,
    ],
  ],
  "access.user_roles": [
    ["ada", "select from access.user_roles", 1],
    ["manage_users", "select from access.user_roles where user_id in (:ada, :bob)", 2],
    ["manage_roles", "select from access.user_roles where user_id in (:ada, :bob)", 2],
    [
      "ada",
      "insert into access.user_roles (user_id, role_id) select :ada, id from access.roles where role_name = 'spare'",
      DENIED,
    ],
    [
      "manage_users",
      "insert into access.user_roles (user_id, role_id) select :ada, id from access.roles where role_name = 'spare'",
      DENIED,
    ],
    ["manage_roles", "delete from access.user_roles where user_id = :bob", 1],
    ["manage_roles", "delete from access.user_roles where user_id = :chief", 0],
    ["manage_roles", `insert into access.user_roles (user_id, role_id) ${ROLE("spare")}`, 1],
    ["manage_roles", `insert into access.user_roles (user_id, role_id) ${ROLE("manage_users")}`, DENIED],
    ["manage_roles", "update access.user_roles set reason = 'x' where user_id = :bob", 1],
    ["manage_roles", "update access.user_roles set reason = 'x' where user_id = :chief", 0],
    [
      "manage_roles",
      "update access.user_roles set role_id = (select id from access.roles where role_name = 'manage_users') where user_id = :bob",
      DENIED,
    ],
  ],
  "access.user_model_access": [
    ["ada", "select from access.user_model_access", 1],
    ["grant_model_access", "select from access.user_model_access", 2],
    ["ada", "insert into access.user_model_access (user_id, model_id) values (:ada, :hidden)", DENIED],
  ],
  "access.role_model_access": [
    ["ada", "select from access.role_model_access", 1],
    ["grant_model_access", "select from access.role_model_access", 2],
    ["ada", `insert into access.role_model_access (role_id, model_id) ${ROLE_MODEL}`, DENIED],
    ["grant_model_access", `insert into access.role_model_access (role_id, model_id) ${ROLE_MODEL}`, 1],
  ],
  "access.plan_model_access": [
    ["ada", "select from access.plan_model_access", 0],
    ["grant_model_access", "select from access.plan_model_access", 1],
    ["ada", "insert into access.plan_model_access (plan_code, model_id) values ('free', :hidden)", DENIED],
    [
      "grant_model_access",
      "insert into access.plan_model_access (plan_code, model_id) values ('free', :hidden)",
      1,
    ],
  ],
  "access.casbin_models": [
    ["ada", "select from access.casbin_models", 0],
    ["manage_access_rules", "select from access.casbin_models", 1],
    ["ada", `insert into access.casbin_models (name, definition) values ('x', '${RBAC_MODEL}')`, DENIED],
    ["manage_access_rules", "update access.casbin_models set description = 'x'", 1],
  ],
  "access.casbin_rules": [
    ["ada", "select from access.casbin_rules", 0],
    ["manage_access_rules", "select from access.casbin_rules", 1],
    ["ada", "insert into access.casbin_rules (ptype, v0, v1, v2) values ('p', 'x', 'x', 'x')", DENIED],
    ["manage_access_rules", "insert into access.casbin_rules (ptype, v0, v1) values ('g', 'x', 'reader')", 1],
  ],
  "access.casbin_versions": [
    ["ada", "select from access.casbin_versions", 0],
    ["manage_access_rules", "select from access.casbin_versions", 2],
    ["view_audit_log", "select from access.casbin_versions", 2],
  ],
  "access.casbin_changes": [
    ["ada", "select from access.casbin_changes", 0],
    ["manage_access_rules", "select from access.casbin_changes", 2],
    ["view_audit_log", "select from access.casbin_changes", 2],
  ],
};
