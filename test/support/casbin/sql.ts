import type pg from "pg";
import type { Answer } from "./node-casbin.ts";
import type { Request, Rule } from "./random-case.ts";

/** A model with its rules and the requests to ask of it. */
export interface Question {
  readonly definition: string;
  readonly rules: readonly Rule[];
  readonly requests: readonly Request[];
}

/** The answers of the database, or its reason for refusing the model or a rule. */
export type SqlAnswers = { readonly answers: readonly Answer[] } | { readonly refused: string };

/** Loads a question, answers it and undoes the load; an error of a request is an answer too. */
const PREPARE = `
create function pg_temp.answer(model text, request jsonb, types text[]) returns jsonb language plpgsql as $$
begin
  return to_jsonb(private.casbin_enforce(model, request, types));
exception when others then
  return to_jsonb('error'::text);
end
$$;

create function pg_temp.answers(question jsonb) returns jsonb language plpgsql as $$
declare
  v_answers jsonb;
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
  raise exception using errcode = 'UNDO1';
exception
  when sqlstate 'UNDO1' then
    return jsonb_build_object('answers', v_answers);
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
    const asked = questions.map(({ definition, rules, requests }) => ({
      definition,
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
