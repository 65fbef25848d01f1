/**
 * The database roles (see "Roles" in README.md). Names have a prefix so that two Plinths can share a cluster;
 * migrations reach them through graphile-migrate placeholders such as `:PLINTH_USER`.
 */
export const ROLES = ["owner", "authenticator", "anonymous", "user", "service", "worker", "analyst"] as const;
/** A role of the database, without the prefix. */
export type Role = (typeof ROLES)[number];

/** Roles that can log in. `anonymous` and `user` are reached only by SET ROLE from `authenticator`. */
export const LOGIN_ROLES = ["owner", "authenticator", "service", "worker", "analyst"] as const;
/** A role that has a connection URL. */
export type LoginRole = (typeof LOGIN_ROLES)[number];

/** The roles of the compatibility schemas, which `plinth compat enable` creates: the owner of their views, and an application's login. */
export const COMPAT_ROLES = ["compat", "application"] as const;

export const ALL_ROLES = [...ROLES, ...COMPAT_ROLES] as const;
export type AnyRole = (typeof ALL_ROLES)[number];
export const ALL_LOGIN_ROLES = [...LOGIN_ROLES, "application"] as const;
export type AnyLoginRole = (typeof ALL_LOGIN_ROLES)[number];

/** The roles that each role is a member of. */
export const MEMBERSHIPS: Readonly<Partial<Record<AnyRole, readonly Role[]>>> = {
  authenticator: ["anonymous", "user"],
  compat: ["user"],
  application: ["user"],
};

export const mayLogIn = (role: AnyRole): boolean => (ALL_LOGIN_ROLES as readonly AnyRole[]).includes(role);

export const DEFAULT_ROLE_PREFIX = "plinth";

export function roleName(prefix: string, role: AnyRole): string {
  return `${prefix}_${role}`;
}

/** graphile-migrate placeholders: `:PLINTH_USER` → `plinth_user`. `owner` is the role that migrates, so its name is passed. */
export function rolePlaceholders(prefix: string, owner: string): Record<string, string> {
  return Object.fromEntries(
    ROLES.map((role) => [`:PLINTH_${role.toUpperCase()}`, role === "owner" ? owner : roleName(prefix, role)]),
  );
}

/** The placeholders of the compatibility schemas' SQL. */
export function compatPlaceholders(prefix: string): Record<string, string> {
  return Object.fromEntries(
    COMPAT_ROLES.map((role) => [`:PLINTH_${role.toUpperCase()}`, roleName(prefix, role)]),
  );
}
