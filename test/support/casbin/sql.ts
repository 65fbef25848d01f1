import type pg from "pg";
import type { Request, Rule } from "./case.ts";
import type { Answer } from "./node-casbin.ts";

/** A model with its rules and the requests to ask of it. */
export interface Question {
  readonly definition: string;
  readonly rules: readonly Rule[];
  readonly requests: readonly Request[];
  readonly lists?: readonly List[];
}

/** A request for those of the objects on which the subject may act. */
export interface List {
  readonly sub: string;
  readonly act: string;
  readonly context: Readonly<Record<string, unknown>>;
  readonly objs: readonly string[];
}

/** The answers of the database, or its reason for refusing the model or a rule. */
export type SqlAnswers =
  | {
      readonly answers: readonly Answer[];
      /** Lists that differ from the answers for each object by itself. */
      readonly lists: readonly string[];
    }
  | { readonly refused: string };

/** Loads a question, answers it and undoes the load; an error of a request is an answer too. */
const PREPARE = `
create function pg_temp.answer(model text, request jsonb, types text[]) returns jsonb language plpgsql as $$
begin
  return to_jsonb(private.casbin_enforce(model, request, types));
exception when others then
  return to_jsonb('error'::text);
end
$$;

-- Compares the functions for lists with the answers for each object. An object without an answer may be in a list or not.
create function pg_temp.compare_list(list jsonb) returns text language plpgsql as $$
declare
  v_sub text := list ->> 'sub';
  v_act text := list ->> 'act';
  v_context jsonb := list -> 'context';
  v_objs text[] := array(select jsonb_array_elements_text(list -> 'objs'));
  v_types text[] := '{r,p,e,m}';
  v_expected text[];
  v_unknown text[];
  v_listed text[];
  v_reason text;
begin
  select
    array_agg(o.obj) filter (where o.answer = 'true'),
    array_agg(o.obj) filter (where o.answer = '"error"')
  into v_expected, v_unknown
  from (
    select obj, pg_temp.answer(
      'asked', private.casbin_request('asked', to_jsonb(v_sub), to_jsonb(obj), to_jsonb(v_act), v_context), v_types
    ) as answer
    from unnest(v_objs) obj
  ) o;
  for v_reason in values ('enforce_many'), ('casbin_permits'), ('casbin_objects') loop
    -- The first is asked by the owner about anybody, the others by the subject.
    continue when v_reason <> 'enforce_many' and v_sub !~ '^[0-9a-f-]{36}$';
    perform set_config('jwt.claims.user_id', case when v_reason <> 'enforce_many' then v_sub end, true);
    begin
      case v_reason
        when 'enforce_many' then
          v_listed := array(select access.enforce_many(v_sub, v_objs, v_act, v_context, 'asked'));
        when 'casbin_permits' then
          v_listed := array(
            select obj from unnest(v_objs) obj
            where access.casbin_permits((select access.casbin_permit(v_act, v_context, 'asked')), obj)
          );
        else
          v_listed := array(
            select obj from unnest(v_objs) obj
            where obj in (select access.casbin_objects(v_act, v_context, 'asked'))
              or obj ~ (select access.casbin_pattern(v_act, v_context, 'asked'))
          );
      end case;
    exception
      when sqlstate 'PL422' then
        -- Rules that do not reduce to objects and a pattern; or a request without an answer.
        continue when v_reason = 'casbin_objects' or v_unknown is not null;
        return v_reason || ' raises ' || sqlerrm;
    end;
    if exists (
      (select unnest(v_listed) except select unnest(v_expected) except select unnest(v_unknown))
      union all
      (select unnest(v_expected) except select unnest(v_listed))
    ) then
      return v_reason || ' lists ' || v_listed::text || ' in place of ' || coalesce(v_expected, '{}')::text;
    end if;
  end loop;
  return null;
end
$$;

create function pg_temp.answers(question jsonb) returns jsonb language plpgsql as $$
declare
  v_answers jsonb;
  v_lists jsonb;
begin
  insert into access.casbin_models (name, definition) values ('asked', question ->> 'definition');
  insert into access.casbin_rules (model_name, ptype, v0, v1, v2, v3, v4, v5)
  select 'asked', r ->> 0, r ->> 1, r ->> 2, r ->> 3, r ->> 4, r ->> 5, r ->> 6
  from jsonb_array_elements(question -> 'rules') with ordinality x (r, place)
  order by place;
  v_answers := (
    select jsonb_agg(pg_temp.answer('asked', r -> 'values', array(select jsonb_array_elements_text(r -> 'types'))) order by place)
    from jsonb_array_elements(question -> 'requests') with ordinality x (r, place)
  );
  v_lists := (
    select coalesce(jsonb_agg(l::text || ': ' || pg_temp.compare_list(l)) filter (where pg_temp.compare_list(l) is not null), '[]')
    from jsonb_array_elements(question -> 'lists') l
  );
  raise exception using errcode = 'UNDO1';
exception
  when sqlstate 'UNDO1' then
    return jsonb_build_object('answers', v_answers, 'lists', v_lists);
  when sqlstate 'PL422' then
    return jsonb_build_object('refused', sqlerrm);
end
$$;`;

/** Prepares a connection of the owner. */
export async function createSqlEnforcer(
  client: pg.ClientBase,
): Promise<(questions: readonly Question[]) => Promise<readonly SqlAnswers[]>> {
  await client.query(PREPARE);
  return async (questions) => {
    const asked = questions.map(({ definition, rules, requests, lists = [] }) => ({
      definition,
      lists,
      rules: rules.map(({ ptype, values }) => [ptype, ...values]),
      requests: requests.map(({ values, context: { r, p, e, m } }) => ({ values, types: [r, p, e, m] })),
    }));
    const { rows } = await client.query<{ answers: SqlAnswers }>(
      "select pg_temp.answers(q) as answers from jsonb_array_elements($1) with ordinality x (q, place) order by place",
      [JSON.stringify(asked)],
    );
    return rows.map(({ answers }) => answers);
  };
}
