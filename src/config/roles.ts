/**
 * The database roles (see "Roles" in README.md). Names have a prefix so that two Plinths can share a cluster;
 * migrations reach them through graphile-migrate placeholders such as `:PLINTH_USER`.
 */
export const ROLES = ["owner", "authenticator", "anonymous", "user", "service", "worker", "analyst"] as const;
export type Role = (typeof ROLES)[number];

/** Roles that can log in. `anonymous` and `user` are reached only by SET ROLE from `authenticator`. */
export const LOGIN_ROLES = ["owner", "authenticator", "service", "worker", "analyst"] as const;
export type LoginRole = (typeof LOGIN_ROLES)[number];

export const DEFAULT_ROLE_PREFIX = "plinth";

export function roleName(prefix: string, role: Role): string {
  return `${prefix}_${role}`;
}

/** graphile-migrate placeholders: `:PLINTH_USER` → `plinth_user`. `owner` is the role that migrates, so its name is passed. */
export function rolePlaceholders(prefix: string, owner: string): Record<string, string> {
  return Object.fromEntries(
    ROLES.map((role) => [`:PLINTH_${role.toUpperCase()}`, role === "owner" ? owner : roleName(prefix, role)]),
  );
}
