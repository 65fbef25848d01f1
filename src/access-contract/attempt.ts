import type pg from "pg";
import type { SqlActor } from "./actors.ts";

/** A statement of a role. */
export interface Attempt {
  readonly actor: SqlActor;
  /** Tried in turn until one does not fail with a state of `passOver`; each starts from the same state. */
  readonly statements: readonly string[];
  /** SQLSTATEs of failures that say nothing, as `like` patterns; `%` is any but 42501. */
  readonly passOver?: string;
  /** Whether the statement returns one array of texts. */
  readonly reads?: boolean;
  /** Read afterwards as the owner: one array of texts; $1 is `before`. */
  readonly observe?: string;
  readonly before?: readonly string[];
}

export interface Attempted {
  /** SQLSTATE of the failure; null if the statement succeeded. */
  readonly state: string | null;
  /** In the language of the server. */
  readonly message: string | null;
  /** The texts that were read or observed. */
  readonly found: readonly string[];
}

/**
 * Runs the attempts in one round trip, each as the real role and rolled back. `client` is in a transaction, connected as a
 * role that may become all others.
 */
export async function attemptAll(
  client: pg.ClientBase,
  attempts: readonly Attempt[],
): Promise<readonly Attempted[]> {
  if (attempts.length === 0) return [];
  const { rows } = await client.query<{ result: Attempted }>(
    `select pg_temp.contract_attempt(a.value) as result
     from jsonb_array_elements($1::jsonb) with ordinality a order by a.ordinality`,
    [JSON.stringify(attempts)],
  );
  return rows.map(({ result }) => result);
}

/** Creates what `attemptAll` calls, for the rest of the session or transaction. */
export async function prepareAttempts(client: pg.ClientBase): Promise<void> {
  await client.query(ATTEMPT);
}

/**
 * Nothing is called by name while the role is another, because that role might not be allowed to. An attempt is rolled back by an
 * error of its own; variables survive that.
 */
const ATTEMPT = `
create or replace function pg_temp.contract_attempt(attempt jsonb) returns jsonb language plpgsql as $function$
declare
  actor constant jsonb := attempt -> 'actor';
  before constant text[] := array(select jsonb_array_elements_text(attempt -> 'before'));
  owner_session constant text := session_user;
  owner_role constant text := current_user;
  owner_path constant text := current_setting('search_path');
  statement text;
  state text;
  message text;
  found_texts text[];
begin
  for statement in select jsonb_array_elements_text(attempt -> 'statements') loop
    state := null; message := null; found_texts := '{}';
    begin
      if actor ->> 'session' is not null then
        perform set_config('session_authorization', actor ->> 'session', true);
      end if;
      perform set_config('role', actor ->> 'role', true),
        set_config('search_path', actor ->> 'searchPath', true),
        set_config('jwt.claims.user_id', actor ->> 'userId', true),
        set_config('jwt.claims.session_id', actor ->> 'sessionId', true);
      if attempt ->> 'reads' = 'true' then
        execute statement into found_texts;
      else
        execute statement;
        set constraints all immediate;
      end if;
      if attempt ->> 'observe' is not null then
        if actor ->> 'session' is not null then
          perform set_config('session_authorization', owner_session, true);
        end if;
        perform set_config('role', owner_role, true), set_config('search_path', owner_path, true);
        execute attempt ->> 'observe' into found_texts using before;
      end if;
      raise exception using errcode = 'PLEND';
    exception when others then
      if sqlstate <> 'PLEND' then state := sqlstate; message := sqlerrm; end if;
      -- Since version 18, PostgreSQL has a code of its own for a foreign key with RESTRICT.
      if state = '23001' then state := '23503'; end if;
    end;
    exit when state is null or state = '42501' or state not like coalesce(attempt ->> 'passOver', '');
  end loop;
  return jsonb_build_object(
    'state', state,
    'message', message,
    'found', to_jsonb(coalesce(found_texts, '{}'))
  );
end
$function$`;
