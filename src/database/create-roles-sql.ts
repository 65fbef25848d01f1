import pg from "pg";

/** A role as it must be. `keeps`: which attributes of an existing one stay. */
export interface WantedRole {
  readonly name: string;
  readonly canLogIn: boolean;
  readonly inherits: boolean;
  readonly keeps: "nothing" | "createrole" | "everything";
}

/** Returns SQL that creates the missing roles, and changes the attributes of the others. */
export function createRoles(wanted: readonly WantedRole[]): string {
  const rows = wanted.map(
    ({ name, canLogIn, inherits, keeps }) => `      (${literal(name)}, ${canLogIn}, ${inherits}, '${keeps}')`,
  );
  return `do $roles$
declare
  v_role record;
  v_existing pg_roles;
  v_changes text;
begin
  for v_role in
    select *
    from (values
${rows.join(",\n")}
    ) as wanted (name, can_login, inherits, keeps)
  loop
    select * into v_existing from pg_roles where rolname = v_role.name;
    if not found then
      begin
        execute format(
          'create role %I %s %s nosuperuser nocreatedb nocreaterole noreplication nobypassrls',
          v_role.name,
          case when v_role.can_login then 'login' else 'nologin' end,
          case when v_role.inherits then 'inherit' else 'noinherit' end
        );
      exception when duplicate_object or unique_violation then
        null; -- created at the same moment from another database of this server
      end;
      continue;
    end if;
    continue when v_role.keeps = 'everything';
    v_changes := concat_ws(
      ' ',
      case when v_existing.rolcanlogin <> v_role.can_login then
        case when v_role.can_login then 'login' else 'nologin' end
      end,
      case when v_existing.rolinherit <> v_role.inherits then
        case when v_role.inherits then 'inherit' else 'noinherit' end
      end,
      case when v_existing.rolsuper then 'nosuperuser' end,
      case when v_existing.rolcreatedb then 'nocreatedb' end,
      case when v_existing.rolcreaterole and v_role.keeps <> 'createrole' then 'nocreaterole' end,
      case when v_existing.rolreplication then 'noreplication' end,
      case when v_existing.rolbypassrls then 'nobypassrls' end
    );
    if v_changes <> '' then
      execute format('alter role %I %s', v_role.name, v_changes);
    end if;
  end loop;
end
$roles$;`;
}

/** A text as an SQL literal. */
export function literal(text: string): string {
  return pg.escapeLiteral(text);
}
