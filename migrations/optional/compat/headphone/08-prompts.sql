call compat.number_rows('headphone', 'prompts', 'llm.prompts', 'user_id');

create view compat_headphone.prompts as
select
  x.number as id,
  t.name,
  t.content,
  p.created_at
from llm.prompts p
left join llm.prompts t on t.id = p.id and (select compat.reads_personal_data())
join plinth.external_ids x on x.system = 'headphone' and x.relation = 'prompts' and x.row_id = p.id;

comment on view compat_headphone.prompts is 'Prompts of the library and of users. Grain: one row per prompt.';
comment on column compat_headphone.prompts.id is 'Number of the prompt.';
comment on column compat_headphone.prompts.name is 'Name, unique per owner; null for analysts.';
comment on column compat_headphone.prompts.content is 'Text; null for analysts.';
comment on column compat_headphone.prompts.created_at is 'Time when the prompt was created.';

create function compat_headphone.write_prompts()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_id uuid := case when tg_op <> 'INSERT' then compat.row_id('headphone', 'prompts', old.id) end;
begin
  if tg_op = 'DELETE' then
    delete from llm.prompts p where p.id = v_id;
    return case when found then old end;
  end if;
  if tg_op = 'UPDATE' then
    update llm.prompts p set name = new.name, content = new.content where p.id = v_id;
    return case when found then new end;
  end if;
  -- Without claims, a prompt of the library.
  if new.created_at is not null and compat.writes_all() then
    insert into llm.prompts (user_id, name, content, created_at)
    values (null, new.name, new.content, new.created_at)
    returning id into v_id;
  else
    insert into llm.prompts (user_id, name, content)
    values (plinth.current_user_id(), new.name, new.content)
    returning id into v_id;
  end if;
  new.id := compat.new_number('headphone', 'prompts', v_id, new.id);
  select v.* into new from compat_headphone.prompts v where v.id = compat.number_of('headphone', 'prompts', v_id);
  return new;
end
$$;

comment on function compat_headphone.write_prompts() is
  'Trigger: writes prompts of the library, or of the user that the claims name.';

call compat.write_through('headphone', 'prompts', 'insert or update or delete');

grant insert, update (name, content), delete on compat_headphone.prompts to :PLINTH_APPLICATION, :PLINTH_USER;

create view compat_headphone.user_prompts as
select u.number as user_id, p.number as prompt_id, up.usage_count
from llm.user_prompts up
join plinth.external_ids u on u.system = 'headphone' and u.relation = 'users' and u.row_id = up.user_id
join plinth.external_ids p on p.system = 'headphone' and p.relation = 'prompts' and p.row_id = up.prompt_id;

comment on view compat_headphone.user_prompts is 'Uses of prompts. Grain: one row per account and prompt it used.';
comment on column compat_headphone.user_prompts.user_id is 'Number of the account.';
comment on column compat_headphone.user_prompts.prompt_id is 'Number of the prompt.';
comment on column compat_headphone.user_prompts.usage_count is 'Number of uses.';

create function compat_headphone.add_prompt_uses(user_id uuid, prompt_id uuid, uses bigint)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform compat.check_user(add_prompt_uses.user_id);
  insert into llm.user_prompts as up (user_id, prompt_id, usage_count, last_used_at)
  values (add_prompt_uses.user_id, add_prompt_uses.prompt_id, add_prompt_uses.uses, case when uses > 0 then now() end)
  on conflict on constraint user_prompts_pkey do update
  set usage_count = up.usage_count + add_prompt_uses.uses, last_used_at = coalesce(excluded.last_used_at, up.last_used_at);
end
$$;

comment on function compat_headphone.add_prompt_uses(uuid, uuid, bigint) is
  'Adds uses of a prompt to those of an account. PL403 if the claims name another user.';
grant execute on function compat_headphone.add_prompt_uses(uuid, uuid, bigint) to :PLINTH_APPLICATION;

create function compat_headphone.write_user_prompts()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
declare
  v_user_id constant uuid := compat.row_id('headphone', 'users', new.user_id);
  v_prompt_id constant uuid := compat.row_id('headphone', 'prompts', new.prompt_id);
  v_uses constant bigint := coalesce(new.usage_count, 0) - case when tg_op = 'UPDATE' then old.usage_count else 0 end;
begin
  if tg_op = 'INSERT' and exists (
    select from compat_headphone.user_prompts v where v.user_id = new.user_id and v.prompt_id = new.prompt_id
  ) then
    raise exception 'The account has this prompt already.' using errcode = '23505', constraint = 'user_prompts_pkey';
  end if;
  if compat.is_application() then
    perform compat_headphone.add_prompt_uses(v_user_id, v_prompt_id, v_uses);
  else
    perform compat.check_user(v_user_id);
    if v_uses <> 1 then
      raise exception 'A user counts one use at a time.' using errcode = 'PL422', column = 'usage_count';
    end if;
    perform llm.use_prompt(v_prompt_id);
  end if;
  select v.* into new from compat_headphone.user_prompts v where v.user_id = new.user_id and v.prompt_id = new.prompt_id;
  return new;
end
$$;

comment on function compat_headphone.write_user_prompts() is 'Trigger: counts uses of prompts.';

call compat.write_through('headphone', 'user_prompts', 'insert or update');

grant insert, update (usage_count) on compat_headphone.user_prompts to :PLINTH_APPLICATION, :PLINTH_USER;
