import { LOGIN_ROLES, roleName } from "../../config/roles.ts";
import { type CheckGroup, fail, ok, warn } from "./check.ts";

interface Login {
  name: string;
  expired: boolean;
  expires_soon: boolean;
  expiry: string | null;
  connection_limit: number;
}

/** Checks whether the roles can still sign in, and as often as their pools want to. */
export const checkLogins: CheckGroup = async ({ client, config }) => {
  const check = "logins";
  const { rows } = await client.query<Login>(
    `select
       rolname as name,
       coalesce(rolvaliduntil <= now(), false) as expired,
       coalesce(rolvaliduntil <= now() + interval '14 days', false) as expires_soon,
       to_char(rolvaliduntil at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"') as expiry,
       rolconnlimit as connection_limit
     from pg_roles
     where rolname = any ($1)
     order by 1`,
    [LOGIN_ROLES.map((role) => roleName(config.rolePrefix, role))],
  );
  const hint = "alter role … password '…' valid until 'infinity'.";
  const expired = rows.filter((row) => row.expired).map(({ name, expiry }) => `${name}: ${expiry}`);
  if (expired.length > 0)
    return [fail(check, "The passwords of some roles have expired: new connections fail.", hint, expired)];
  const soon = rows.filter((row) => row.expires_soon).map(({ name, expiry }) => `${name}: ${expiry}`);
  if (soon.length > 0) return [warn(check, "The passwords of some roles expire within 14 days.", hint, soon)];
  const api = roleName(config.rolePrefix, "authenticator");
  const limited = rows.filter(
    ({ name, connection_limit: limit }) =>
      limit >= 0 && limit < (name === api ? config.pool.max + config.pool.overflow : 5),
  );
  return [
    limited.length === 0
      ? ok(check, "The roles may sign in as often as they need to.")
      : warn(
          check,
          "Some roles may have fewer connections than Plinth opens.",
          "alter role … connection limit -1, or lower PLINTH_POOL_MAX.",
          limited.map(({ name, connection_limit }) => `${name}: ${connection_limit}`),
        ),
  ];
};
