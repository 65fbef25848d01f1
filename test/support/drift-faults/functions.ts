import type { Fault } from "./fault.ts";

export const FUNCTIONS: readonly Fault[] = [
  {
    title: "a function that returns null",
    sql: "create or replace function plinth.current_user_id() returns uuid language sql stable parallel safe as 'select null::uuid'",
    findings: [["fail", "drift-functions", "function plinth.current_user_id(): the body differs"]],
  },
  {
    title: "a permission check that returns true",
    sql: "create or replace function access.has_permission(permission text) returns boolean language plpgsql stable parallel safe security definer set search_path = pg_catalog set plan_cache_mode = force_generic_plan as 'begin return true; end'",
    findings: [
      ["fail", "drift-functions", "function access.has_permission(permission text): the body differs"],
    ],
  },
  {
    title: "another parsed body",
    sql: "create or replace function plinth.announce(topic text, sequence bigint) returns void language sql set search_path = pg_catalog begin atomic select pg_notify('plinth_live', topic); end",
    findings: [
      ["fail", "drift-functions", "function plinth.announce(topic text, sequence bigint): the body differs"],
    ],
  },
  {
    title: "a function without its owner's rights",
    sql: "alter function identity.logout() security invoker",
    findings: [
      ["fail", "drift-functions", "function identity.logout(): expected security definer yes, found no"],
    ],
  },
  {
    title: "a function with its owner's rights",
    sql: "alter function identity.viewer() security definer",
    findings: [
      ["fail", "drift-functions", "function identity.viewer(): expected security definer no, found yes"],
    ],
  },
  {
    title: "a function without a search path",
    sql: "alter function identity.logout() reset search_path",
    findings: [
      [
        "fail",
        "drift-functions",
        "function identity.logout(): expected settings search_path=pg_catalog, found none",
      ],
    ],
  },
  {
    title: "a function with another search path",
    sql: "alter function identity.logout() set search_path = public",
    findings: [
      [
        "fail",
        "drift-functions",
        "function identity.logout(): expected settings search_path=pg_catalog, found search_path=public",
      ],
    ],
  },
  {
    title: "a function with another volatility",
    sql: "alter function identity.users_role(identity.users) volatile",
    findings: [
      [
        "fail",
        "drift-functions",
        "function identity.users_role(u identity.users): expected volatility stable, found volatile",
      ],
    ],
  },
  {
    title: "a function that ignores null",
    sql: "alter function identity.unlock_account(uuid) strict",
    findings: [
      [
        "fail",
        "drift-functions",
        "function identity.unlock_account(user_id uuid): expected strict no, found yes",
      ],
    ],
  },
  {
    title: "a function that policies may run first",
    sql: "alter function identity.users_tier(identity.users) leakproof",
    by: "a superuser",
    findings: [
      [
        "fail",
        "drift-functions",
        "function identity.users_tier(u identity.users): expected leakproof no, found yes",
      ],
    ],
  },
  {
    title: "a function with another cost",
    sql: "alter function identity.users_tier(identity.users) cost 5000",
    findings: [
      [
        "warn",
        "drift-functions",
        "function identity.users_tier(u identity.users): expected cost none, found 5000",
      ],
    ],
  },
  {
    title: "a function with another default",
    sql: "create or replace function private.ensure_partitions(months_ahead integer default 0) returns table (partition_name text) language plpgsql security definer set search_path = pg_catalog set timezone = 'UTC' as 'begin end'",
    findings: [
      [
        "fail",
        "drift-functions",
        "function private.ensure_partitions(months_ahead integer): the body differs; expected arguments months_ahead integer DEFAULT 3, found months_ahead integer DEFAULT 0",
      ],
    ],
  },
  {
    title: "a function without its smart tag",
    sql: "comment on function identity.viewer() is 'The signed-in account.'",
    findings: [
      ["fail", "drift-functions", "function identity.viewer(): expected tags @name currentUser, found none"],
    ],
  },
  {
    title: "a dropped function",
    sql: "drop function identity.unlock_account(uuid)",
    findings: [["fail", "schema", "function identity.unlock_account"]],
  },
  {
    title: "a renamed function",
    sql: "alter function identity.unlock_account(uuid) rename to unlock",
    findings: [
      ["fail", "schema", "function identity.unlock_account"],
      [
        "fail",
        "drift-access",
        "grant to plinth_user on function identity.unlock(user_id uuid): expected none, found execute",
      ],
      ["fail", "drift-extra", "function identity.unlock(user_id uuid): not created by the migrations"],
    ],
  },
  {
    title: "an added function with the owner's rights",
    sql: "create function identity.backdoor() returns setof private.user_passwords language sql security definer as 'select * from private.user_passwords'",
    findings: [["fail", "drift-extra", "function identity.backdoor(): not created by the migrations"]],
  },
  {
    title: "an added function",
    sql: "create function identity.helper() returns integer language sql as 'select 1'",
    findings: [["warn", "drift-extra", "function identity.helper(): not created by the migrations"]],
  },
  {
    title: "an added overload",
    sql: "create function access.has_permission(permission text, scope text) returns boolean language sql as 'select true'",
    findings: [
      [
        "warn",
        "drift-extra",
        "function access.has_permission(permission text, scope text): not created by the migrations",
      ],
    ],
  },
  {
    title: "an added function of machine code",
    sql: "create function plinth.identity(xid) returns xid language internal as 'xid_age'; revoke execute on function plinth.identity from public; alter function plinth.identity owner to :PLINTH_OWNER",
    by: "a superuser",
    findings: [["fail", "drift-extra", "function plinth.identity(xid): not created by the migrations"]],
  },
  {
    title: "an added function of machine code in another schema",
    sql: "create function public.identity(xid) returns xid language internal as 'xid_age'",
    by: "a superuser",
    findings: [["warn", "drift-extra", "function public.identity(xid): not created by the migrations"]],
  },
  {
    title: "a function hidden in an extension",
    sql: "create function plinth.hidden() returns integer language sql security definer as 'select 1'; alter extension pg_trgm add function plinth.hidden()",
    findings: [["fail", "drift-extra", "function plinth.hidden(): not created by the migrations"]],
  },
  {
    title: "a function in the system's schema",
    sql: "create function pg_catalog.lower(integer) returns integer language sql as 'select 1'",
    by: "a superuser",
    findings: [["warn", "drift-extra", "function pg_catalog.lower(integer): not created by the migrations"]],
  },
];
