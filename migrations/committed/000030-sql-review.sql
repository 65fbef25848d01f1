--! Previous: sha1:997acbaef2f68986ba3656b669498f247b8e60b3
--! Hash: sha1:f7f5508d853224949cc8c82d15984ced19851cfe
--! Message: sql review

-- Review of the SQL as a whole. What each of these mends is said where it stands.

-- Where somebody waits for an answer of the AI is asked every few seconds, and its last answer may be long ago or there may be none:
-- without an index of the AI's messages that reads all of a room.
create index room_messages_ai_answers_idx on rooms.room_messages (room_id, event_sequence) where sender_type = 'ai';

-- Of a word that everybody uses, the index had all messages of all rooms to look through for one room's.
drop index rooms.room_messages_content_idx;
create index room_messages_content_idx on rooms.room_messages
  using gin (room_id, to_tsvector('simple', content)) where not is_deleted;
--! Included rooms/functions/search_room_messages.sql
-- Definer rights: under the policies PostgreSQL may not use the index, because the operator could tell what it is not to tell. The
-- function asks what they ask. Room by room, by an index that begins with the room: a word that everybody uses costs what one's own
-- rooms have of it, and not what all have. Blocks and privacy are asked about from the newest match on, until there are enough.
create or replace function rooms.search_room_messages(query text, room_id uuid default null, max_count integer default 50)
  returns setof rooms.room_messages
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select msg.*
  from (
    select found.id
    from (
      select o.id, o.created_at
      from rooms.room_members m
      -- `offset 0`: each room's matches are found before anything else is asked about them.
      cross join lateral (
        select r.id, r.created_at
        from rooms.room_messages r
        where r.room_id = m.room_id
          and to_tsvector('simple', r.content) @@ websearch_to_tsquery('simple', search_room_messages.query)
          and not r.is_deleted
          and r.event_sequence > m.visible_after
        offset 0
      ) o
      where m.user_id = plinth.current_user_id()
        and (search_room_messages.room_id is null or m.room_id = search_room_messages.room_id)
      order by o.created_at desc, o.id desc
      offset 0
    ) found
    where private.sees_message(found.id, plinth.current_user_id())
    limit least(greatest(search_room_messages.max_count, 0), 200)
  ) seen
  join rooms.room_messages msg on msg.id = seen.id
  order by msg.created_at desc, msg.id desc
$$;

comment on function rooms.search_room_messages(text, uuid, integer) is
  'Messages with all of these words (or "a phrase", or -without) in the rooms of the signed-in user, or in one of them, newest first; at most 200.';
grant execute on function rooms.search_room_messages(text, uuid, integer) to :PLINTH_USER;
--! EndIncluded rooms/functions/search_room_messages.sql
--! Included rooms/functions/set_typing.sql
-- Said every few seconds by whoever writes. Only the first time and the end are news: what is renewed changes nothing for those who
-- look on, and who stops saying so is gone by itself.
create or replace function rooms.set_typing(room_id uuid, is_typing boolean default true)
  returns timestamptz
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_expires_at timestamptz;
  v_is_news boolean;
begin
  perform private.current_room_role(set_typing.room_id);
  -- The account before what is of it, as everywhere: who deletes it deletes this.
  perform private.lock_accounts(array[v_user]);
  delete from rooms.typing t
  where t.room_id = set_typing.room_id
    and (t.expires_at <= clock_timestamp() or (not set_typing.is_typing and t.user_id = v_user));
  v_is_news := found and not set_typing.is_typing;
  if set_typing.is_typing then
    v_expires_at := clock_timestamp() + interval '6 seconds';
    insert into rooms.typing as t (room_id, user_id, expires_at)
    values (set_typing.room_id, v_user, v_expires_at)
    on conflict on constraint typing_pkey do update set expires_at = excluded.expires_at
    returning t.xmax = 0 into v_is_news;
  end if;
  if v_is_news then
    perform plinth.announce('typing:' || set_typing.room_id, 0);
  end if;
  return v_expires_at;
end
$$;

comment on function rooms.set_typing(uuid, boolean) is
  E'@resultFieldName expiresAt\nTells the other members of a room that the signed-in user is writing, for six seconds: say it again every few seconds, or false when done. Returns until when it holds. NOT_FOUND for who is no member.';
grant execute on function rooms.set_typing(uuid, boolean) to :PLINTH_USER;
--! EndIncluded rooms/functions/set_typing.sql
--! Included rooms/policies/general_chat.sql
-- Everybody signed in reads along, but for people they have blocked; writing is by functions. What runs the chat is for who has
-- moderate_general_chat.
revoke all on rooms.general_chat_messages from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.general_chat_messages to :PLINTH_USER;

drop policy if exists select_unblocked on rooms.general_chat_messages;
create policy select_unblocked on rooms.general_chat_messages
  for select to :PLINTH_USER
  using (
    (select plinth.current_user_id()) is not null
    and not exists (
      select
      from rooms.user_blocks b
      where b.user_id = (select plinth.current_user_id()) and b.blocked_id = general_chat_messages.sender_id
    )
  );
comment on policy select_unblocked on rooms.general_chat_messages is
  'Who is signed in reads the general chat, but for people they have blocked.';

revoke all on rooms.general_chat_revisions from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on rooms.general_chat_revisions to :PLINTH_USER;

drop policy if exists select_concerned on rooms.general_chat_revisions;
create policy select_concerned on rooms.general_chat_revisions
  for select to :PLINTH_USER
  using (
    author_id = (select plinth.current_user_id())
    or (select access.has_permission('moderate_general_chat'))
  );
comment on policy select_concerned on rooms.general_chat_revisions is
  'Authors read the earlier texts of their messages, moderators of the general chat all.';

revoke all on rooms.general_chat_settings from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select, update (is_open, slow_mode_seconds) on rooms.general_chat_settings to :PLINTH_USER;

drop policy if exists select_all on rooms.general_chat_settings;
create policy select_all on rooms.general_chat_settings
  for select to :PLINTH_USER
  using (true);
comment on policy select_all on rooms.general_chat_settings is 'Everybody signed in knows how the general chat is run.';

drop policy if exists update_moderator on rooms.general_chat_settings;
create policy update_moderator on rooms.general_chat_settings
  for update to :PLINTH_USER
  using ((select access.has_permission('moderate_general_chat')))
  with check ((select access.has_permission('moderate_general_chat')));
comment on policy update_moderator on rooms.general_chat_settings is 'The permission moderate_general_chat runs the general chat.';

revoke all on rooms.general_chat_mutes from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant
  select,
  insert (user_id, reason, muted_until),
  update (reason, muted_until),
  delete
  on rooms.general_chat_mutes to :PLINTH_USER;

drop policy if exists select_own on rooms.general_chat_mutes;
create policy select_own on rooms.general_chat_mutes
  for select to :PLINTH_USER
  using (user_id = (select plinth.current_user_id()));
comment on policy select_own on rooms.general_chat_mutes is 'Users see that they are muted, and why.';

-- Nobody silences who may do more than themselves, and who is silenced does not let themselves speak: that is for the others.
drop policy if exists all_moderator on rooms.general_chat_mutes;
create policy all_moderator on rooms.general_chat_mutes
  for all to :PLINTH_USER
  using ((select access.has_permission('moderate_general_chat')) and user_id <> (select plinth.current_user_id()))
  with check (
    (select access.has_permission('moderate_general_chat'))
    and user_id <> (select plinth.current_user_id())
    and access.may_administer(user_id)
  );
comment on policy all_moderator on rooms.general_chat_mutes is
  'The permission moderate_general_chat mutes others and lets them speak again, but not who may do more.';
--! EndIncluded rooms/policies/general_chat.sql
--! Included private/functions/bill_turn.sql
-- Settles what an answer used, once: the turn's end is what calls it, and a turn ends once. What used nothing gives its hold back. The
-- caller has locked chat, message and turn, which come before the ledger.
create or replace function private.bill_turn(
  turn private.turns,
  model_id uuid,
  input_tokens bigint,
  output_tokens bigint,
  cached_input_tokens bigint default 0,
  reasoning_tokens bigint default 0,
  message_id uuid default null
)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_hold record;
  v_event billing.usage_events;
  v_locked timestamptz;
begin
  select h.state, h.usage_event_id into v_hold from billing.token_holds h where h.id = turn.hold_id;
  -- A service that ends the hold by itself must not keep the answer from ending.
  if v_hold.state = 'settled' then
    v_locked := private.lock_usage(turn.user_id, now());
    select e.* into strict v_event from billing.usage_events e where e.id = v_hold.usage_event_id;
    v_event.message_id := bill_turn.message_id;
    if v_event.message_id is not null then
      perform private.claim_message(v_event, now());
    end if;
  elsif bill_turn.input_tokens + bill_turn.output_tokens = 0 then
    perform private.release_hold(turn.hold_id) where v_hold.state is not null;
  elsif v_hold.state is null or v_hold.state = 'released' then
    perform private.record_usage(
      turn.user_id, bill_turn.model_id, bill_turn.input_tokens, bill_turn.output_tokens, 'turn:' || turn.message_id,
      bill_turn.cached_input_tokens, bill_turn.reasoning_tokens, null, bill_turn.message_id
    );
  else
    perform private.settle_hold(
      turn.hold_id, bill_turn.input_tokens, bill_turn.output_tokens, bill_turn.cached_input_tokens,
      bill_turn.reasoning_tokens, null, bill_turn.message_id
    );
  end if;
end
$$;

comment on function private.bill_turn(private.turns, uuid, bigint, bigint, bigint, bigint, uuid) is
  'Settles the hold of a turn for what it used, or releases it; records what was used where the hold was given back before.';

-- Four bytes a token is what tokenizers make of plain text, near enough to bill what nobody counted.
create or replace function private.estimated_tokens(bytes integer)
  returns bigint
  language sql
  immutable
  parallel safe
  set search_path = pg_catalog
as $$
  select (bytes::bigint + 3) / 4
$$;

comment on function private.estimated_tokens(integer) is 'About how many tokens a text of so many bytes has.';

-- A service tells what an answer used that was cancelled or expired meanwhile: the estimate it was billed for is corrected. The
-- caller has locked account, chat, message and turn.
create or replace function private.correct_turn_usage(
  turn private.turns,
  model_id uuid,
  input_tokens bigint,
  output_tokens bigint,
  cached_input_tokens bigint,
  reasoning_tokens bigint
)
  returns void
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_event_id uuid;
begin
  v_event_id := coalesce(
    (select h.usage_event_id from billing.token_holds h where h.id = turn.hold_id),
    (
      select k.event_id
      from private.usage_keys k
      where k.user_id = turn.user_id and k.operation = 'record' and k.idempotency_key = 'turn:' || turn.message_id
    )
  );
  if v_event_id is not null then
    perform private.correct_usage(
      v_event_id, correct_turn_usage.input_tokens, correct_turn_usage.output_tokens, 'turn:' || turn.message_id,
      correct_turn_usage.cached_input_tokens, correct_turn_usage.reasoning_tokens
    );
  elsif correct_turn_usage.input_tokens + correct_turn_usage.output_tokens > 0 then
    perform private.record_usage(
      turn.user_id, correct_turn_usage.model_id, correct_turn_usage.input_tokens, correct_turn_usage.output_tokens,
      'turn:' || turn.message_id, correct_turn_usage.cached_input_tokens, correct_turn_usage.reasoning_tokens, null,
      turn.message_id
    );
  end if;
  update private.turns t set is_usage_estimated = false where t.message_id = turn.message_id;
  update llm.messages m set tokens_used = correct_turn_usage.output_tokens where m.id = turn.message_id;
end
$$;

comment on function private.correct_turn_usage(private.turns, uuid, bigint, bigint, bigint, bigint) is
  'Replaces the estimate that an ended turn was billed for by what its writer counted.';
--! EndIncluded private/functions/bill_turn.sql
--! Included private/functions/break_off_expired_turns.sql
-- One batch of ending what killed writers left behind: the text that had arrived stays, is billed, and the chat is free. In the
-- order of chats, so that two of these do not wait for each other in turn.
create or replace function private.break_off_expired_turns(batch_size integer default 100)
  returns integer
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_id uuid;
  v_turns integer := 0;
begin
  if batch_size is null or batch_size not between 1 and 10000 then
    raise exception 'batch_size must be from 1 to 10000.' using errcode = 'PL422';
  end if;
  for v_id in
    select t.message_id
    from private.turns t
    where t.ended_at is null and t.lease_expires_at <= clock_timestamp()
    order by t.user_id, t.chat_id
    limit batch_size
  loop
    begin
      perform private.end_turn(v_id, 'broken_off', 'expired', only_expired => true);
      v_turns := v_turns + 1;
    exception
      -- Its chat was deleted meanwhile, and the turn with it.
      when sqlstate 'PL404' then
        v_turns := v_turns + 1;
      -- One that fails is reported and does not stop the others: they would all wait for it.
      when others then
        raise warning 'turn % could not be ended: %', v_id, sqlstate;
    end;
  end loop;
  return v_turns;
end
$$;

comment on function private.break_off_expired_turns(integer) is
  'Ends up to batch_size answers whose writer fell silent; returns how many. One that cannot be ended is left with a warning.';
grant execute on function private.break_off_expired_turns(integer) to :PLINTH_WORKER;
--! EndIncluded private/functions/break_off_expired_turns.sql

alter table private.usage_keys
  drop constraint usage_keys_operation_check,
  add constraint usage_keys_operation_check check (
    operation in ('record', 'correct', 'close_grant', 'message', 'grant_subscription')
  );
comment on column private.usage_keys.operation is
  'record, correct, close_grant, grant_subscription, or message (the key is the message''s id).';

drop function billing.grant_subscription(uuid, uuid);
--! Included billing/functions/manage_subscriptions.sql
-- What support does for others: whoever holds manage_subscriptions answers for the money. Never for what a provider bills.

create or replace function private.require_subscription_manager()
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if not access.has_permission('manage_subscriptions') then
    raise exception 'This needs the permission manage_subscriptions.' using errcode = 'PL403';
  end if;
end
$$;

comment on function private.require_subscription_manager() is 'PL403 unless the signed-in user has manage_subscriptions.';

-- A payment that came in some other way: a first one starts, the next ones renew, another plan is a change at once.
create or replace function private.grant_subscription_at(user_id uuid, plan_id uuid, at timestamptz)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_current billing.user_subscriptions := private.lock_subscriber(grant_subscription_at.user_id, grant_subscription_at.at);
begin
  if v_current.id is null then
    perform private.offered_plan(grant_subscription_at.plan_id);
    return private.start_subscription(grant_subscription_at.user_id, grant_subscription_at.plan_id, false, grant_subscription_at.at);
  end if;
  perform private.require_own_billing(v_current);
  if v_current.plan_id = grant_subscription_at.plan_id then
    return private.renew_subscription(v_current.id, 'payment_succeeded', grant_subscription_at.at);
  end if;
  perform private.offered_plan(grant_subscription_at.plan_id);
  perform private.change_subscription_plan(v_current.id, grant_subscription_at.plan_id, grant_subscription_at.at);
  select s.* into strict v_current from billing.user_subscriptions s where s.id = v_current.id;
  return v_current;
end
$$;

comment on function private.grant_subscription_at(uuid, uuid, timestamptz) is 'billing.grant_subscription at a moment.';

-- A period is money: an attempt that is repeated because its answer was lost must not give another one.
create or replace function billing.grant_subscription(user_id uuid, plan_id uuid, idempotency_key text default null)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_arguments constant jsonb := jsonb_build_array(grant_subscription.plan_id);
  v_current billing.user_subscriptions;
  v_locked timestamptz;
  v_key private.usage_keys;
begin
  perform private.require_subscription_manager();
  if grant_subscription.idempotency_key is not null then
    v_current := private.lock_subscriber(grant_subscription.user_id, now());
    v_locked := private.lock_usage(grant_subscription.user_id, now());
    v_key := private.used_key(
      grant_subscription.user_id, 'grant_subscription', grant_subscription.idempotency_key, v_arguments
    );
    if v_key.operation is not null then
      return v_current;
    end if;
    insert into private.usage_keys (user_id, operation, idempotency_key, arguments)
    values (grant_subscription.user_id, 'grant_subscription', grant_subscription.idempotency_key, v_arguments);
  end if;
  return private.grant_subscription_at(grant_subscription.user_id, grant_subscription.plan_id, now());
end
$$;

comment on function billing.grant_subscription(uuid, uuid, text) is
  'Gives a user a period of a plan: starts it, adds a period, or changes to it at once with proration. The same idempotency key again gives nothing more and returns the subscription as it is now. Needs manage_subscriptions (PL403). PL404, PL409, PL422.';
grant execute on function billing.grant_subscription(uuid, uuid, text) to :PLINTH_USER;

create or replace function billing.pause_subscription(user_id uuid)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_current billing.user_subscriptions;
begin
  perform private.require_subscription_manager();
  v_current := private.lock_subscriber(pause_subscription.user_id, now());
  perform private.require_own_billing(v_current);
  return private.pause_subscription(v_current.id, now());
end
$$;

comment on function billing.pause_subscription(uuid) is
  'Stops a paid period''s clock until its user resumes. Needs manage_subscriptions (PL403). PL404, PL409.';
grant execute on function billing.pause_subscription(uuid) to :PLINTH_USER;

create or replace function billing.end_subscription(user_id uuid)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_current billing.user_subscriptions;
begin
  perform private.require_subscription_manager();
  v_current := private.lock_subscriber(end_subscription.user_id, now());
  perform private.require_own_billing(v_current);
  return private.transition_subscription(v_current.id, 'canceled', now());
end
$$;

comment on function billing.end_subscription(uuid) is
  'Ends a subscription at once. Needs manage_subscriptions (PL403). PL404, PL409.';
grant execute on function billing.end_subscription(uuid) to :PLINTH_USER;
--! EndIncluded billing/functions/manage_subscriptions.sql
--! Included private/functions/mail_variables.sql
-- What every mail about an account may say: whom it greets, and when and from where the request came. Where somebody else who is
-- signed in made it, an administrator say, is not for the account's owner to know.
create or replace function private.mail_variables(user_id uuid)
  returns jsonb
  language sql
  stable
  set search_path = pg_catalog
as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'username', u.username,
    'display_name', s.display_name,
    'locale', left(s.preferences ->> 'locale', 35),
    'occurred_at', to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    'ip_address', case when own.is_request then host(plinth.client_ip()) end,
    'user_agent', case when own.is_request then left(plinth.user_agent(), 300) end
  ))
  from identity.users u
  left join identity.user_settings s on s.user_id = u.id
  cross join lateral (select coalesce(plinth.current_user_id() = u.id, true) as is_request) own
  where u.id = mail_variables.user_id
$$;

comment on function private.mail_variables(uuid) is 'Names of the account and context of the request, for the texts of mails.';
--! EndIncluded private/functions/mail_variables.sql
--! Included security/policies/security_audit_log.sql
-- Users see the events of their own account, auditors see all; nobody writes but private.record_security_event. What somebody else
-- did, an administrator say, from an address of theirs stays the auditors', as in security.audit_trail: the address is that
-- person's. Where nobody was signed in, it is the address of who tried to.
revoke all on security.security_audit_log from :PLINTH_ANONYMOUS, :PLINTH_USER;
grant select on security.security_audit_log to :PLINTH_USER;

drop policy if exists select_own on security.security_audit_log;
create policy select_own on security.security_audit_log
  for select to :PLINTH_USER
  using (
    user_id = (select plinth.current_user_id())
    and (actor_id is null or actor_id = (select plinth.current_user_id()) or ip_address is null)
  );
comment on policy select_own on security.security_audit_log is
  'Users read the events of their own account, but for what somebody else did from an address.';

drop policy if exists select_auditor on security.security_audit_log;
create policy select_auditor on security.security_audit_log
  for select to :PLINTH_USER
  using ((select access.has_permission('view_audit_log')));
comment on policy select_auditor on security.security_audit_log is 'The permission view_audit_log reads all events.';
--! EndIncluded security/policies/security_audit_log.sql
--! Included access/triggers/roles.sql
-- On two roles the product stands: registration gives user by its name, and nobody could give admin back. Renamed they would be as
-- gone as deleted (see access/policies/roles.sql), and then could be deleted, too.
create or replace function access.keep_role_name()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  raise exception 'The roles admin and user keep their names.'
    using errcode = 'PL409', schema = 'access', table = 'roles', column = 'role_name';
end
$$;

comment on function access.keep_role_name() is 'Trigger: admin and user keep their names (PL409).';

create or replace trigger _100_keep_name
  before update of role_name on access.roles
  for each row
  when (old.role_name in ('admin', 'user') and new.role_name <> old.role_name)
  execute function access.keep_role_name();
--! EndIncluded access/triggers/roles.sql
--! Included private/functions/room_events.sql
-- Writes an event that is not a posting. Its number comes from the room, whose lock is held until the end of the transaction, so
-- numbers have no gaps and become visible in their order. A room that is being deleted has no events any more.
create or replace function private.append_room_event(room_id uuid, kind text, message_id uuid default null, user_id uuid default null)
  returns bigint
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_sequence bigint;
begin
  update rooms.chat_rooms r
  set last_event_sequence = r.last_event_sequence + 1
  where r.id = append_room_event.room_id
  returning r.last_event_sequence into v_sequence;
  if v_sequence is not null then
    insert into rooms.room_changes (room_id, sequence, kind, message_id, user_id)
    values (
      append_room_event.room_id, v_sequence, append_room_event.kind, append_room_event.message_id,
      -- An account that is just being deleted is not named.
      (select u.id from identity.users u where u.id = append_room_event.user_id)
    );
    perform plinth.announce('room:' || append_room_event.room_id, v_sequence);
  end if;
  return v_sequence;
end
$$;

comment on function private.append_room_event(uuid, text, uuid, uuid) is
  'Adds an event to a room''s log, locks the room and announces it; returns its number, or null for a room that is gone.';

-- What concerns one user in all rooms: memberships, read marks, invites. The counter is locked until the transaction ends; who
-- tells several users locks their counters first (private.lock_user_counters).
create or replace function private.announce_user(user_id uuid)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_sequence bigint;
begin
  -- An account that is just being deleted has no subscribers.
  insert into rooms.user_event_counters as c (user_id, sequence)
  select u.id, 1 from identity.users u where u.id = announce_user.user_id
  on conflict on constraint user_event_counters_pkey do update set sequence = c.sequence + 1
  returning c.sequence into v_sequence;
  if v_sequence is not null then
    perform plinth.announce('user:' || announce_user.user_id, v_sequence);
  end if;
end
$$;

comment on function private.announce_user(uuid) is 'Counts a change of a user''s memberships, read marks or invites, and announces it.';

create or replace function private.lock_user_counters(user_ids uuid[])
  returns void
  language sql
  volatile
  set search_path = pg_catalog
as $$
  select from rooms.user_event_counters c where c.user_id = any (lock_user_counters.user_ids) order by c.user_id for no key update
$$;

comment on function private.lock_user_counters(uuid[]) is
  'For who announces something to several users: locks their counters in one order, so that two that do so do not wait for each other.';
--! EndIncluded private/functions/room_events.sql
--! Included private/functions/add_to_room.sql
-- The one way to become a member, by joining or by an invite. Naturally idempotent. The account is locked first, by who calls.
create or replace function private.add_to_room(room_id uuid, user_id uuid)
  returns rooms.room_members
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_member rooms.room_members;
begin
  perform private.lock_room(add_to_room.room_id);
  if exists (
    select from rooms.room_bans b where b.room_id = add_to_room.room_id and b.user_id = add_to_room.user_id
  ) then
    raise exception 'You were removed from this room for good.' using errcode = 'PL403';
  end if;
  select m.* into v_member
  from rooms.room_members m
  where m.room_id = add_to_room.room_id and m.user_id = add_to_room.user_id;
  if v_member.id is null then
    -- The invite's other side is told, too.
    perform private.lock_user_counters(array(
      select add_to_room.user_id
      union all
      select i.inviter_id
      from rooms.room_invites i
      where i.room_id = add_to_room.room_id and i.invitee_id = add_to_room.user_id and i.status = 'pending'
    ));
    insert into rooms.room_members as m (room_id, user_id)
    values (add_to_room.room_id, add_to_room.user_id)
    returning m.* into v_member;
    update rooms.room_invites i
    set status = 'accepted', responded_at = clock_timestamp()
    where i.room_id = add_to_room.room_id and i.invitee_id = add_to_room.user_id and i.status = 'pending';
  end if;
  return v_member;
end
$$;

comment on function private.add_to_room(uuid, uuid) is
  'Makes a user a member, who may already be one, and answers an open invite; PL403 for the banned, PL404 without a room.';
--! EndIncluded private/functions/add_to_room.sql
--! Included private/functions/remove_from_room.sql
-- Takes a member out. A room without people is deleted; one whose creator goes belongs to who has been there longest, moderators first.
-- The room is locked by who calls.
create or replace function private.remove_from_room(room_id uuid, user_id uuid)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_role text;
  v_heir rooms.room_members;
begin
  select m.role into v_role
  from rooms.room_members m
  where m.room_id = remove_from_room.room_id and m.user_id = remove_from_room.user_id;
  if v_role is null then
    return false;
  end if;
  select o.* into v_heir
  from rooms.room_members o
  where o.room_id = remove_from_room.room_id and o.user_id <> remove_from_room.user_id
  order by o.role = 'moderator' desc, o.joined_at, o.id
  limit 1;
  if v_heir.id is null then
    -- With its members.
    delete from rooms.chat_rooms r where r.id = remove_from_room.room_id;
    return true;
  end if;
  if v_role = 'creator' then
    perform private.lock_user_counters(array[remove_from_room.user_id, v_heir.user_id]);
  end if;
  delete from rooms.room_members m
  where m.room_id = remove_from_room.room_id and m.user_id = remove_from_room.user_id;
  if v_role = 'creator' then
    update rooms.room_members m set role = 'creator' where m.id = v_heir.id;
  end if;
  return true;
end
$$;

comment on function private.remove_from_room(uuid, uuid) is
  'Ends a membership and hands on the room or deletes an empty one; whether there was a membership.';
--! EndIncluded private/functions/remove_from_room.sql
--! Included private/functions/room_passwords.sql
-- The password of a room, hashed and checked by the service, which alone comes here; the caller is the signed-in user. It is asked
-- for where the room can be joined without an invite: its id together with its password is what one is told by a member.
create or replace function private.set_room_password(room_id uuid, password_hash text)
  returns void
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.require_room_moderator(set_room_password.room_id);
  perform private.lock_accounts(array[plinth.current_user_id()]);
  perform private.lock_room(set_room_password.room_id);
  perform private.require_room_moderator(set_room_password.room_id);
  if set_room_password.password_hash is null then
    delete from private.room_passwords p where p.room_id = set_room_password.room_id;
  else
    insert into private.room_passwords (room_id, password_hash)
    values (set_room_password.room_id, set_room_password.password_hash)
    on conflict on constraint room_passwords_pkey
    do update set password_hash = excluded.password_hash, updated_at = now();
  end if;
  update rooms.chat_rooms r
  set has_password = set_room_password.password_hash is not null
  where r.id = set_room_password.room_id
    and r.has_password <> (set_room_password.password_hash is not null);
end
$$;

comment on function private.set_room_password(uuid, text) is
  'Sets or (null) removes the password of a room that the signed-in user moderates. PL403, PL404.';
grant execute on function private.set_room_password(uuid, text) to :PLINTH_SERVICE;

create or replace function private.find_room_password(room_id uuid)
  returns text
  language sql
  stable
  security definer
  set search_path = pg_catalog
as $$
  select p.password_hash from private.room_passwords p where p.room_id = find_room_password.room_id
$$;

comment on function private.find_room_password(uuid) is 'The hash of a room''s password, or null.';
grant execute on function private.find_room_password(uuid) to :PLINTH_SERVICE;

create or replace function private.join_room_with_password(room_id uuid, verified_hash text)
  returns uuid
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
begin
  if v_user is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  perform private.lock_accounts(array[v_user]);
  -- The password may have been changed since it was checked.
  perform from rooms.chat_rooms r where r.id = join_room_with_password.room_id for no key update;
  if not exists (
    select
    from private.room_passwords p
    where p.room_id = join_room_with_password.room_id and p.password_hash = verified_hash
  ) then
    return null;
  end if;
  return (private.add_to_room(join_room_with_password.room_id, v_user)).id;
end
$$;

comment on function private.join_room_with_password(uuid, text) is
  'Makes the signed-in user a member if the room''s password still is the one whose hash was verified; the membership''s id, or null. PL403 for the banned.';
grant execute on function private.join_room_with_password(uuid, text) to :PLINTH_SERVICE;
--! EndIncluded private/functions/room_passwords.sql
--! Included rooms/functions/rooms_of_users.sql
create or replace function rooms.create_room(
  name text,
  room_type text default 'group',
  description text default '',
  is_public boolean default false,
  ai_enabled boolean default false,
  history_is_shared boolean default true,
  idempotency_key uuid default null
)
  returns rooms.chat_rooms
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_room rooms.chat_rooms;
begin
  if v_user is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  if create_room.room_type = 'direct' then
    raise exception 'Direct rooms are made with create_direct_room.' using errcode = 'PL422', column = 'room_type';
  elsif coalesce(trim(create_room.name), '') = '' then
    raise exception 'A room has a name.' using errcode = 'PL422', column = 'name';
  end if;
  perform private.lock_accounts(array[v_user]);
  if create_room.idempotency_key is not null then
    -- Two attempts at once: the second waits here and finds the first one's room.
    perform pg_advisory_xact_lock(hashtextextended('rooms.create_room ' || v_user || create_room.idempotency_key, 0));
    select r.* into v_room
    from rooms.chat_rooms r
    where r.creator_id = v_user and r.idempotency_key = create_room.idempotency_key;
    if v_room.id is not null then
      return v_room;
    end if;
  end if;
  perform private.enforce_rate_limit('room_create_per_account', v_user::text);
  insert into rooms.chat_rooms as r (
    creator_id, name, room_type, description, is_public, ai_enabled, history_is_shared, idempotency_key
  )
  values (
    v_user, trim(create_room.name), create_room.room_type, create_room.description, create_room.is_public,
    create_room.ai_enabled, create_room.history_is_shared, create_room.idempotency_key
  )
  returning r.* into v_room;
  insert into rooms.room_members (room_id, user_id, role) values (v_room.id, v_user, 'creator');
  if v_room.ai_enabled then
    insert into rooms.room_members (room_id, user_id, role) values (v_room.id, null, 'ai');
  end if;
  select r.* into v_room from rooms.chat_rooms r where r.id = v_room.id;
  return v_room;
end
$$;

comment on function rooms.create_room(text, text, text, boolean, boolean, boolean, uuid) is
  'Makes a group or private room with the signed-in user as its creator, and with an AI as a member where it is enabled. The same idempotency key gives the same room. PL422 for a bad type or no name, PL429 for too many.';
grant execute on function rooms.create_room(text, text, text, boolean, boolean, boolean, uuid) to :PLINTH_USER;

create or replace function rooms.create_direct_room(user_id uuid)
  returns rooms.chat_rooms
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_first uuid;
  v_second uuid;
  v_room rooms.chat_rooms;
begin
  if v_user is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  elsif create_direct_room.user_id is null or create_direct_room.user_id = v_user then
    raise exception 'A direct room is with somebody else.' using errcode = 'PL422', column = 'user_id';
  end if;
  v_first := least(v_user, create_direct_room.user_id);
  v_second := greatest(v_user, create_direct_room.user_id);
  perform private.lock_accounts(array[v_first, v_second]);
  -- The same answer for an account that does not exist, is not active, or does not want to hear from the caller.
  if not exists (select from identity.users u where u.id = create_direct_room.user_id and u.is_active)
    or private.is_blocked(v_user, create_direct_room.user_id)
    or private.is_blocked(create_direct_room.user_id, v_user)
  then
    raise exception 'There is nobody of that id you can write to.' using errcode = 'PL404', column = 'user_id';
  end if;
  perform pg_advisory_xact_lock(hashtextextended('rooms.create_direct_room ' || v_first || v_second, 0));
  select r.* into v_room
  from private.direct_rooms d
  join rooms.chat_rooms r on r.id = d.room_id
  where d.first_user_id = v_first and d.second_user_id = v_second;
  if v_room.id is not null then
    return v_room;
  end if;
  perform private.enforce_rate_limit('room_create_per_account', v_user::text);
  insert into rooms.chat_rooms as r (creator_id, room_type) values (v_user, 'direct') returning r.* into v_room;
  insert into private.direct_rooms (first_user_id, second_user_id, room_id) values (v_first, v_second, v_room.id);
  insert into rooms.room_members (room_id, user_id, role) values (v_room.id, v_first, 'member'), (v_room.id, v_second, 'member');
  select r.* into v_room from rooms.chat_rooms r where r.id = v_room.id;
  return v_room;
end
$$;

comment on function rooms.create_direct_room(uuid) is
  'The room of the signed-in user and another one; makes it where there is none, and there is never a second. PL404 for who cannot be written to.';
grant execute on function rooms.create_direct_room(uuid) to :PLINTH_USER;

-- Whether a user may know that a room is there, as the policies of rooms.chat_rooms say it.
create or replace function private.sees_room(room_id uuid, user_id uuid)
  returns boolean
  language sql
  stable
  set search_path = pg_catalog
as $$
  select exists (
    select
    from rooms.chat_rooms r
    where r.id = sees_room.room_id
      and (
        r.is_public
        or exists (
          select from rooms.room_invites i where i.room_id = r.id and i.invitee_id = sees_room.user_id and i.status = 'pending'
        )
        or exists (select from rooms.room_members m where m.room_id = r.id and m.user_id = sees_room.user_id)
      )
  )
$$;

comment on function private.sees_room(uuid, uuid) is 'Whether a user may see a room: as a member, by an invite, or because it is public.';

create or replace function rooms.join_room(room_id uuid)
  returns rooms.room_members
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_room rooms.chat_rooms;
begin
  if v_user is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  perform private.lock_accounts(array[v_user]);
  -- Who cannot see the room does not get to lock it. Asked again once it is locked: a statement that waits for a lock goes on with
  -- what it saw before, and who is removed meanwhile must not join as the member they were.
  if private.sees_room(join_room.room_id, v_user) then
    v_room := private.lock_room(join_room.room_id);
  end if;
  if v_room.id is null or not private.sees_room(v_room.id, v_user) then
    raise exception 'There is no such room.' using errcode = 'PL404';
  elsif v_room.has_password
    and not exists (select from rooms.room_members m where m.room_id = v_room.id and m.user_id = v_user)
    and not exists (
      select from rooms.room_invites i where i.room_id = v_room.id and i.invitee_id = v_user and i.status = 'pending'
    )
  then
    raise exception 'This room has a password.' using errcode = 'PL403', hint = 'Use joinRoomWithPassword.';
  end if;
  return private.add_to_room(v_room.id, v_user);
end
$$;

comment on function rooms.join_room(uuid) is
  'Joins a public room, or one the signed-in user is invited to; a member already stays one. PL403 for the banned and where a password is needed, PL404 for rooms one cannot see.';
grant execute on function rooms.join_room(uuid) to :PLINTH_USER;

create or replace function rooms.leave_room(room_id uuid)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
begin
  perform private.current_room_role(leave_room.room_id);
  perform private.lock_accounts(array[v_user]);
  if (private.lock_room(leave_room.room_id)).room_type = 'direct' then
    raise exception 'A direct room is not left; archive it or block the other one.' using errcode = 'PL409';
  end if;
  return private.remove_from_room(leave_room.room_id, v_user);
end
$$;

comment on function rooms.leave_room(uuid) is
  'Ends the signed-in user''s membership. A creator''s place goes to who has been there longest, moderators first; a room nobody is left in is deleted. PL404 for who is no member.';
grant execute on function rooms.leave_room(uuid) to :PLINTH_USER;

create or replace function rooms.remove_room_member(room_id uuid, user_id uuid, ban boolean default false, reason text default null)
  returns boolean
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_role text;
  v_own_role text;
begin
  perform private.require_room_moderator(remove_room_member.room_id);
  perform private.lock_accounts(array[v_user, remove_room_member.user_id]);
  if (private.lock_room(remove_room_member.room_id)).room_type = 'direct' then
    raise exception 'Nobody is removed from a direct room.' using errcode = 'PL409';
  end if;
  -- Again, now that nothing changes any more.
  perform private.require_room_moderator(remove_room_member.room_id);
  v_own_role := private.current_room_role(remove_room_member.room_id);
  select m.role into v_role
  from rooms.room_members m
  where m.room_id = remove_room_member.room_id and m.user_id = remove_room_member.user_id;
  if v_role = 'creator' or (v_role = 'moderator' and v_own_role <> 'creator') or remove_room_member.user_id = v_user then
    raise exception 'You may not remove this member.' using errcode = 'PL403';
  elsif v_role is null and not remove_room_member.ban then
    raise exception 'There is no such member.' using errcode = 'PL404', column = 'user_id';
  end if;
  if remove_room_member.ban then
    if not exists (select from identity.users u where u.id = remove_room_member.user_id) then
      raise exception 'There is no such user.' using errcode = 'PL404', column = 'user_id';
    end if;
    insert into rooms.room_bans as b (room_id, user_id, banned_by, reason)
    values (remove_room_member.room_id, remove_room_member.user_id, v_user, remove_room_member.reason)
    on conflict on constraint room_bans_pkey do update set reason = coalesce(excluded.reason, b.reason);
  end if;
  delete from rooms.room_invites i
  where i.room_id = remove_room_member.room_id and i.invitee_id = remove_room_member.user_id;
  perform private.remove_from_room(remove_room_member.room_id, remove_room_member.user_id);
  return true;
end
$$;

comment on function rooms.remove_room_member(uuid, uuid, boolean, text) is
  'Takes a member out of a room, with ban for good (also somebody who is no member yet). Moderators remove members, the creator removes moderators too. PL403, PL404.';
grant execute on function rooms.remove_room_member(uuid, uuid, boolean, text) to :PLINTH_USER;

create or replace function rooms.set_room_role(room_id uuid, user_id uuid, role text)
  returns rooms.room_members
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_user constant uuid := plinth.current_user_id();
  v_member rooms.room_members;
begin
  perform private.current_room_role(set_room_role.room_id);
  if set_room_role.role is null or set_room_role.role not in ('creator', 'moderator', 'member') then
    raise exception 'A role is creator, moderator or member.' using errcode = 'PL422', column = 'role';
  end if;
  perform private.lock_accounts(array[v_user, set_room_role.user_id]);
  perform private.lock_room(set_room_role.room_id);
  if private.current_room_role(set_room_role.room_id) <> 'creator' then
    raise exception 'Only the creator gives roles.' using errcode = 'PL403';
  elsif set_room_role.user_id = v_user then
    raise exception 'Make somebody else the creator instead.' using errcode = 'PL409';
  end if;
  perform private.lock_user_counters(array[v_user, set_room_role.user_id]);
  update rooms.room_members m
  set role = set_room_role.role
  where m.room_id = set_room_role.room_id and m.user_id = set_room_role.user_id
  returning m.* into v_member;
  if v_member.id is null then
    raise exception 'There is no such member.' using errcode = 'PL404', column = 'user_id';
  end if;
  if set_room_role.role = 'creator' then
    update rooms.room_members m set role = 'moderator' where m.room_id = set_room_role.room_id and m.user_id = v_user;
  end if;
  return v_member;
end
$$;

comment on function rooms.set_room_role(uuid, uuid, text) is
  'Gives a member another role; whoever makes somebody the creator becomes a moderator. For the creator only. PL403, PL404, PL422.';
grant execute on function rooms.set_room_role(uuid, uuid, text) to :PLINTH_USER;
--! EndIncluded rooms/functions/rooms_of_users.sql
--! Included rooms/triggers/chat_rooms.sql
-- The account before the room, as everywhere: the event of a change names who made it. Before the statement, because a row's
-- triggers run with the row locked, and who deletes the account waits for its rooms.
create or replace function private.lock_acting_account()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.lock_accounts(array[plinth.current_user_id()]);
  return null;
end
$$;

comment on function private.lock_acting_account() is
  'Trigger: keeps the account of who makes a change, which the change will name, from being deleted meanwhile.';

create or replace trigger _100_lock_account
  before update of name, description, is_public, has_password, ai_enabled, history_is_shared on rooms.chat_rooms
  for each statement
  execute function private.lock_acting_account();

-- A change of name or settings is an event. Postings change other columns and do not come here.
create or replace function private.number_room_change()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  new.last_event_sequence := old.last_event_sequence + 1;
  return new;
end
$$;

comment on function private.number_room_change() is 'Trigger: gives a change of a room its event number.';

create or replace trigger _100_number
  before update of name, description, is_public, has_password, ai_enabled, history_is_shared on rooms.chat_rooms
  for each row
  when (
    (old.name, old.description, old.is_public, old.has_password, old.ai_enabled, old.history_is_shared)
    is distinct from
    (new.name, new.description, new.is_public, new.has_password, new.ai_enabled, new.history_is_shared)
  )
  execute function private.number_room_change();

create or replace function private.follow_room_change()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  insert into rooms.room_changes (room_id, sequence, kind, user_id)
  values (
    new.id, new.last_event_sequence, 'room_changed',
    (select u.id from identity.users u where u.id = plinth.current_user_id())
  );
  perform plinth.announce('room:' || new.id, new.last_event_sequence);
  if new.ai_enabled and not old.ai_enabled then
    insert into rooms.room_members (room_id, user_id, role)
    values (new.id, null, 'ai')
    on conflict on constraint room_members_room_id_user_id_key do nothing;
  elsif old.ai_enabled and not new.ai_enabled then
    delete from rooms.room_members m where m.room_id = new.id and m.role = 'ai';
  end if;
  return null;
end
$$;

comment on function private.follow_room_change() is 'Trigger: logs a change of a room; an AI that is turned on joins, one that is turned off leaves.';

create or replace trigger _500_follow
  after update of name, description, is_public, has_password, ai_enabled, history_is_shared on rooms.chat_rooms
  for each row
  when (
    (old.name, old.description, old.is_public, old.has_password, old.ai_enabled, old.history_is_shared)
    is distinct from
    (new.name, new.description, new.is_public, new.has_password, new.ai_enabled, new.history_is_shared)
  )
  execute function private.follow_room_change();

-- See plinth.touch_updated_at. Counters are no change of the room.
create or replace trigger _900_touch_updated_at
  before update of name, description, is_public, has_password, ai_enabled, history_is_shared on rooms.chat_rooms
  for each row
  execute function plinth.touch_updated_at();

-- All whom the end of a room is told to are known before the first of them is.
create or replace function private.lock_audience_of_room()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  perform private.lock_user_counters(array(
    select m.user_id from rooms.room_members m where m.room_id = old.id
    union
    select unnest(array[i.inviter_id, i.invitee_id]) from rooms.room_invites i where i.room_id = old.id
  ));
  return old;
end
$$;

comment on function private.lock_audience_of_room() is
  'Trigger: locks the counters of members and invited people of a room that is deleted, in one order.';

create or replace trigger _100_lock_audience
  before delete on rooms.chat_rooms
  for each row
  execute function private.lock_audience_of_room();
--! EndIncluded rooms/triggers/chat_rooms.sql
--! Included llm/triggers/prompt_versions.sql
-- Every content a prompt ever had is a version. Two writers of one prompt wait for each other at its row, so numbers have no gap.
create or replace function llm.count_prompt_version()
  returns trigger
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'INSERT' then
    new.current_version := 1;
  elsif (new.content, new.variables) is distinct from (old.content, old.variables) then
    new.current_version := old.current_version + 1;
  else
    new.current_version := old.current_version;
  end if;
  return new;
end
$$;

comment on function llm.count_prompt_version() is 'Trigger: new content or variables are the next version.';

create or replace function llm.keep_prompt_version()
  returns trigger
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
begin
  if tg_op = 'INSERT' or new.current_version <> old.current_version then
    insert into llm.prompt_versions (prompt_id, version, content, variables)
    values (new.id, new.current_version, new.content, new.variables);
  end if;
  return null;
end
$$;

comment on function llm.keep_prompt_version() is 'Trigger: keeps each version of a prompt.';

create or replace function llm.refuse_version_change()
  returns trigger
  language plpgsql
  set search_path = pg_catalog
as $$
begin
  -- An account that is deleted leaves its name out, and that is all that may change.
  if new.created_by is null
    and (new.prompt_id, new.version, new.content, new.variables, new.created_at)
      is not distinct from (old.prompt_id, old.version, old.content, old.variables, old.created_at)
  then
    return new;
  end if;
  raise exception 'A version of a prompt is never changed.' using errcode = 'PL403';
end
$$;

comment on function llm.refuse_version_change() is 'Trigger: versions of prompts stay as they were written.';

-- See rooms/triggers/chat_rooms.sql: a version names who wrote it, and prompts go with their owner.
create or replace trigger _100_lock_account
  before update of content, variables on llm.prompts
  for each statement
  execute function private.lock_acting_account();

create or replace trigger _200_count_prompt_version
  before insert or update on llm.prompts
  for each row
  execute function llm.count_prompt_version();

create or replace trigger _500_keep_prompt_version
  after insert or update on llm.prompts
  for each row
  execute function llm.keep_prompt_version();

create or replace trigger _100_refuse_change
  before update on llm.prompt_versions
  for each row
  execute function llm.refuse_version_change();
--! EndIncluded llm/triggers/prompt_versions.sql
--! Included learning/functions/publishing.sql
-- From a draft to a published version and back. All of them lock the item's course before the item, as the triggers that carry
-- a course's changes to its lessons do.
create or replace function private.lock_content_item(item_id uuid)
  returns learning.content_items
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_item learning.content_items;
begin
  if not access.has_permission('edit_content') then
    raise exception 'This needs the permission edit_content.' using errcode = 'PL403';
  end if;
  -- The account before the item, which may be one of its own, as everywhere: a version names who wrote it.
  perform private.lock_accounts(array[plinth.current_user_id()]);
  perform
  from learning.content_items c
  where c.id = (select i.course_id from learning.content_items i where i.id = lock_content_item.item_id)
  for share;
  select * into v_item from learning.content_items i where i.id = lock_content_item.item_id for no key update;
  if v_item.id is null then
    raise exception 'There is no such content.' using errcode = 'PL404';
  end if;
  return v_item;
end
$$;

comment on function private.lock_content_item(uuid) is 'Locks an item for a change of its state. PL403 without edit_content, PL404 for none.';

create or replace function learning.save_draft(
  item_id uuid, body text default null, body_format text default 'markdown', change_note text default ''
)
  returns learning.content_versions
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_item learning.content_items := private.lock_content_item(save_draft.item_id);
  v_draft learning.content_versions;
begin
  select * into v_draft from learning.content_versions v where v.item_id = v_item.id and v.published_at is null;
  if v_draft.item_id is null then
    insert into learning.content_versions as v (item_id, version, change_note)
    values (
      v_item.id,
      (select coalesce(max(o.version), 0) + 1 from learning.content_versions o where o.item_id = v_item.id),
      coalesce(save_draft.change_note, '')
    )
    returning v.* into v_draft;
  else
    update learning.content_versions v
    set change_note = coalesce(save_draft.change_note, '')
    where v.item_id = v_draft.item_id and v.version = v_draft.version
    returning v.* into v_draft;
  end if;
  if save_draft.body is null then
    delete from learning.content_bodies b where b.item_id = v_draft.item_id and b.version = v_draft.version;
  else
    insert into learning.content_bodies as b (item_id, version, body_format, body)
    values (v_draft.item_id, v_draft.version, coalesce(save_draft.body_format, 'markdown'), save_draft.body)
    on conflict on constraint content_bodies_pkey
    do update set body_format = excluded.body_format, body = excluded.body;
  end if;
  return v_draft;
end
$$;

comment on function learning.save_draft(uuid, text, text, text) is
  'Writes the draft of an item''s next version, in place of an earlier draft. Needs edit_content (PL403); PL404 for an unknown item.';
grant execute on function learning.save_draft(uuid, text, text, text) to :PLINTH_USER;

-- Publishing what is published already changes nothing but the window that is named, so a retry does no harm.
create or replace function learning.publish_content(
  item_id uuid, publish_from timestamptz default null, publish_until timestamptz default null
)
  returns learning.content_items
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_item learning.content_items := private.lock_content_item(publish_content.item_id);
  v_version integer;
begin
  if v_item.deleted_at is not null then
    raise exception 'The content is deleted.' using errcode = 'PL409', hint = 'Restore it first.';
  end if;
  update learning.content_versions v
  set published_at = clock_timestamp()
  where v.item_id = v_item.id and v.published_at is null
  returning v.version into v_version;
  if v_version is null then
    select max(v.version) into v_version from learning.content_versions v where v.item_id = v_item.id;
  end if;
  if v_version is null then
    -- A course may consist of its lessons alone.
    if v_item.content_type <> 'course' then
      raise exception 'There is nothing to publish.'
        using errcode = 'PL422', hint = 'Save a draft first.', schema = 'learning', table = 'content_items', column = 'item_id';
    end if;
    v_version := 1;
    insert into learning.content_versions (item_id, version, published_at) values (v_item.id, 1, clock_timestamp());
  end if;
  update learning.content_items i
  set
    current_version = v_version,
    publish_from = coalesce(publish_content.publish_from, i.publish_from, now()),
    publish_until = coalesce(publish_content.publish_until, i.publish_until)
  where i.id = v_item.id
  returning i.* into v_item;
  return v_item;
end
$$;

comment on function learning.publish_content(uuid, timestamptz, timestamptz) is
  'Publishes an item''s draft, or its newest version again, now or within a window. Needs edit_content (PL403); PL404 for an unknown item, PL409 for a deleted one, PL422 without a text.';
grant execute on function learning.publish_content(uuid, timestamptz, timestamptz) to :PLINTH_USER;

create or replace function learning.unpublish_content(item_id uuid)
  returns learning.content_items
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_item learning.content_items := private.lock_content_item(unpublish_content.item_id);
begin
  update learning.content_items i
  set current_version = null, publish_from = null, publish_until = null
  where i.id = v_item.id
  returning i.* into v_item;
  return v_item;
end
$$;

comment on function learning.unpublish_content(uuid) is
  'Withdraws an item, for a course with all its parts. Its versions stay. Needs edit_content (PL403); PL404 for an unknown item.';
grant execute on function learning.unpublish_content(uuid) to :PLINTH_USER;

create or replace function learning.delete_content(item_id uuid)
  returns learning.content_items
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_item learning.content_items := private.lock_content_item(delete_content.item_id);
begin
  update learning.content_items i
  set deleted_at = coalesce(i.deleted_at, clock_timestamp())
  where i.id = v_item.id
  returning i.* into v_item;
  return v_item;
end
$$;

comment on function learning.delete_content(uuid) is
  'Hides an item, for a course with all its parts, and keeps everything. Needs edit_content (PL403); PL404 for an unknown item.';
grant execute on function learning.delete_content(uuid) to :PLINTH_USER;

create or replace function learning.restore_content(item_id uuid)
  returns learning.content_items
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
as $$
declare
  v_item learning.content_items := private.lock_content_item(restore_content.item_id);
begin
  update learning.content_items i
  set deleted_at = null
  where i.id = v_item.id
  returning i.* into v_item;
  return v_item;
end
$$;

comment on function learning.restore_content(uuid) is
  'Brings a deleted item back as it was. Needs edit_content (PL403); PL404 for an unknown item.';
grant execute on function learning.restore_content(uuid) to :PLINTH_USER;
--! EndIncluded learning/functions/publishing.sql
--! Included learning/functions/record_heartbeat.sql
-- A player says what it has played since it last said so. The answer is the progress, with where to go on.

-- The item and the version that somebody plays, if they may: only who may read a text can be reading it. The decision about a
-- user and item is asked for once a minute of playing and not with each heartbeat: asking costs more than recording. What
-- would change it at once is seen: a withdrawn item here, a changed permission by the trigger below.
create or replace function private.open_for_recording(
  item_id uuid,
  version integer,
  out reason text,
  out playable_version integer,
  out duration_seconds integer,
  out content_type text,
  out access_checked_at timestamptz
)
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_current_version integer;
  v_is_available boolean;
  v_has_access boolean;
begin
  select
    i.current_version, i.duration_seconds, i.content_type,
    i.available_from <= now() and (i.available_until is null or i.available_until > now()),
    p.access_checked_at
  into v_current_version, duration_seconds, content_type, v_is_available, access_checked_at
  from learning.content_items i
  left join learning.content_progress p on p.item_id = i.id and p.user_id = plinth.current_user_id()
  where i.id = open_for_recording.item_id;
  if v_current_version is null then
    reason := 'not_available';
    return;
  end if;
  if v_is_available is not true or access_checked_at is null
    or access_checked_at not between now() - interval '1 minute' and now()
  then
    select a.has_access, a.reason into v_has_access, reason
    from learning.my_content_access a
    where a.content_id = open_for_recording.item_id;
    if v_has_access is not true then
      reason := coalesce(reason, 'not_available');
      return;
    end if;
    reason := null;
    access_checked_at := now();
  end if;
  playable_version := coalesce(version, v_current_version);
  if playable_version <> v_current_version and not exists (
    select
    from learning.content_versions v
    where v.item_id = open_for_recording.item_id and v.version = open_for_recording.version and v.published_at is not null
  ) then
    reason := 'no_such_version';
  end if;
end
$$;

comment on function private.open_for_recording(uuid, integer) is
  'The version of an item that is being played, its duration and type, and when access was last decided; reason says why the caller may not play it, or is null.';

create or replace function learning.forget_checked_access()
  returns trigger
  language plpgsql
  security definer
  set search_path = pg_catalog
as $$
declare
  v_permission learning.user_content_permissions := case when tg_op = 'DELETE' then old else new end;
begin
  update learning.content_progress p
  set access_checked_at = null
  from learning.content_items i
  where p.user_id = v_permission.user_id
    and p.item_id = i.id
    and p.access_checked_at is not null
    -- A permission on a course is one on its parts.
    and (i.id = v_permission.item_id or i.course_id = v_permission.item_id);
  return null;
end
$$;

comment on function learning.forget_checked_access() is 'Trigger: a permission that changes counts for the very next heartbeat.';

create or replace trigger _500_forget_checked_access
  after insert or update or delete on learning.user_content_permissions
  for each row
  execute function learning.forget_checked_access();

create or replace function private.refuse_recording(reason text)
  returns void
  language plpgsql
  stable
  set search_path = pg_catalog
as $$
begin
  if reason = 'no_such_version' then
    raise exception 'There is no such version.'
      using errcode = 'PL404', schema = 'learning', table = 'content_progress', column = 'version';
  elsif reason = 'not_available' then
    raise exception 'There is no such content.'
      using errcode = 'PL404', schema = 'learning', table = 'content_progress', column = 'item_id';
  elsif reason is not null then
    raise exception 'You have no access to this content.' using errcode = 'PL403', hint = reason;
  end if;
end
$$;

comment on function private.refuse_recording(text) is
  'Raises why something may not be recorded (PL403, or PL404 for what cannot be seen); nothing when reason is null.';

create or replace function learning.record_heartbeat(
  item_id uuid,
  event_id uuid,
  from_seconds integer,
  to_seconds integer,
  active_seconds integer default null,
  occurred_at timestamptz default null,
  version integer default null
)
  returns learning.content_progress
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  -- A plan for these values would leave out partitions and seem cheaper; making it costs more than all the rest.
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_user_id constant uuid := plinth.current_user_id();
  v_active_seconds constant integer := coalesce(active_seconds, to_seconds - from_seconds);
  v_occurred_at constant timestamptz := coalesce(occurred_at, now());
  v_problem constant text := private.heartbeat_problem(event_id, from_seconds, to_seconds, v_active_seconds, v_occurred_at);
  v_open record;
  v_progress learning.content_progress;
begin
  if v_user_id is null then
    raise exception 'Sign in first.' using errcode = 'PL401';
  end if;
  if v_problem is not null then
    raise exception 'This heartbeat cannot be: %.', v_problem
      using errcode = 'PL422', schema = 'learning', table = 'content_progress', column = v_problem,
        hint = 'from_seconds <= to_seconds, at most 4 times active_seconds, which are at most 600; at most 30 days ago.';
  end if;
  v_open := private.open_for_recording(item_id, version);
  if v_open.reason is not null then
    perform private.refuse_recording(v_open.reason);
  end if;
  v_progress := private.apply_heartbeat(
    v_user_id, item_id, event_id, v_open.playable_version, v_open.duration_seconds,
    from_seconds, to_seconds, v_active_seconds, v_occurred_at, v_open.access_checked_at
  );
  if v_progress.completed_version is distinct from v_progress.credited_version then
    perform private.credit_completions(v_user_id, array[item_id]);
    v_progress.credited_version := v_progress.completed_version;
  end if;
  return v_progress;
end
$$;

comment on function learning.record_heartbeat(uuid, uuid, integer, integer, integer, timestamptz, integer) is
  E'@resultFieldName progress\nRecords that the signed-in user played an item from one second of it to another, in active_seconds (as many if left out) that ended at occurred_at (now), in its current or the given version. Once for each event_id, in any order, up to 30 days late. PL401, PL403 with the reason as hint, PL404, PL422.';
grant execute on function learning.record_heartbeat(uuid, uuid, integer, integer, integer, timestamptz, integer) to :PLINTH_USER;

-- A heartbeat as a client writes it.
create or replace function private.heartbeat_fields(heartbeat jsonb)
  returns table (
    event_id uuid,
    item_id uuid,
    from_seconds integer,
    to_seconds integer,
    active_seconds integer,
    occurred_at timestamptz,
    version integer
  )
  language sql
  stable
  rows 1
  set search_path = pg_catalog
as $$
  select
    h."eventId", h."itemId", h."fromSeconds", h."toSeconds",
    coalesce(h."activeSeconds", h."toSeconds" - h."fromSeconds"), coalesce(h."occurredAt", now()), h.version
  from jsonb_to_record(heartbeat) as h (
    "eventId" uuid, "itemId" uuid, "fromSeconds" integer, "toSeconds" integer, "activeSeconds" integer,
    "occurredAt" timestamptz, version integer
  )
$$;

comment on function private.heartbeat_fields(jsonb) is
  'Reads {eventId, itemId, fromSeconds, toSeconds, activeSeconds, occurredAt, version}; a data exception (class 22) for what is of another form.';

-- What a device has collected without a connection. One heartbeat that is refused does not hold up the others, or a queue
-- with it in front would never be emptied. Rows are locked in one order before anything is written, so that two devices cannot
-- wait for each other in a circle.
create or replace function learning.record_heartbeats(heartbeats jsonb)
  returns setof learning.heartbeat_result
  language plpgsql
  volatile
  security definer
  set search_path = pg_catalog
  -- A plan for these values would leave out partitions and seem cheaper; making it costs more than all the rest.
  set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
  v_user_id uuid;
  v_element jsonb;
  v_readable jsonb[] := '{}';
  v_heartbeat record;
  v_open record;
  v_progress learning.content_progress;
  v_completed uuid[] := '{}';
  v_result learning.heartbeat_result;
begin
  v_user_id := private.lock_own_account();
  if jsonb_typeof(heartbeats) is distinct from 'array' or jsonb_array_length(heartbeats) > 500 then
    raise exception 'heartbeats is a list of at most 500 objects.'
      using errcode = 'PL422', schema = 'learning', table = 'content_progress', column = 'heartbeats';
  end if;
  if jsonb_path_exists(heartbeats, '$[*] ? (@.type() != "object")') then
    raise exception 'Each of heartbeats is an object.'
      using errcode = 'PL422', schema = 'learning', table = 'content_progress', column = 'heartbeats';
  end if;
  for v_element in select e.value from jsonb_array_elements(heartbeats) e loop
    begin
      select f.* into v_heartbeat from private.heartbeat_fields(v_element) f;
      v_readable := v_readable || v_element;
    exception
      when data_exception then
        v_result := (
          case when v_element ->> 'eventId' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then (v_element ->> 'eventId')::uuid end,
          null, 'refused', 'malformed'
        );
        return next v_result;
    end;
  end loop;
  perform p.item_id
  from learning.content_progress p
  where p.user_id = v_user_id
    and p.item_id in (select (h ->> 'itemId')::uuid from unnest(v_readable) h)
  order by p.item_id
  for no key update;

  for v_heartbeat in
    select f.*
    from unnest(v_readable) e
    cross join lateral private.heartbeat_fields(e) f
    order by f.item_id, f.occurred_at, f.event_id
  loop
    v_result.event_id := v_heartbeat.event_id;
    v_result.item_id := v_heartbeat.item_id;
    v_result.outcome := 'refused';
    v_result.reason := private.heartbeat_problem(
      v_heartbeat.event_id, v_heartbeat.from_seconds, v_heartbeat.to_seconds, v_heartbeat.active_seconds, v_heartbeat.occurred_at
    );
    if v_result.reason is null then
      v_open := private.open_for_recording(v_heartbeat.item_id, v_heartbeat.version);
      v_result.reason := v_open.reason;
    end if;
    if v_result.reason is null then
      v_result.outcome := case
        when exists (
          select
          from private.recorded_heartbeats r
          where r.user_id = v_user_id and r.event_id = v_heartbeat.event_id
        ) then 'repeated'
        else 'recorded'
      end;
      v_progress := private.apply_heartbeat(
        v_user_id, v_heartbeat.item_id, v_heartbeat.event_id, v_open.playable_version, v_open.duration_seconds,
        v_heartbeat.from_seconds, v_heartbeat.to_seconds, v_heartbeat.active_seconds, v_heartbeat.occurred_at,
        v_open.access_checked_at
      );
      if v_progress.completed_version is distinct from v_progress.credited_version then
        v_completed := v_completed || v_heartbeat.item_id;
      end if;
    end if;
    return next v_result;
  end loop;
  if v_completed <> '{}' then
    perform private.credit_completions(v_user_id, v_completed);
  end if;
end
$$;

comment on function learning.record_heartbeats(jsonb) is
  E'@resultFieldName results\nRecords up to 500 heartbeats, a list of {eventId, itemId, fromSeconds, toSeconds, activeSeconds, occurredAt, version} as record_heartbeat takes them, such as those collected without a connection. Answers for each whether it was recorded, repeated or refused, and why (malformed for what cannot be read). PL401, PL422.';
grant execute on function learning.record_heartbeats(jsonb) to :PLINTH_USER;
--! EndIncluded learning/functions/record_heartbeat.sql
--! Included private/functions/pause_subscription.sql
-- A pause stops the clock: what was left of the period is left when it goes on, and unused tokens of the plan stay without
-- an end, since the user paid for both. Not for what a provider bills: its clock cannot be stopped from here.
create or replace function private.pause_subscription(subscription_id uuid, at timestamptz)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_subscription billing.user_subscriptions;
begin
  select s.* into strict v_subscription
  from billing.user_subscriptions s
  where s.id = pause_subscription.subscription_id
  for update;
  if v_subscription.provider is not null
    or v_subscription.current_period_end is null
    or exists (select from billing.subscription_plans p where p.id = v_subscription.plan_id and p.price_cents = 0)
  then
    raise exception 'Only a paid period that no provider bills can be paused.' using errcode = 'PL409';
  end if;
  v_subscription := private.transition_subscription(v_subscription.id, 'paused', pause_subscription.at);
  if v_subscription.quota_granted_from = v_subscription.quota_period_start then
    perform private.close_plan_grant(
      v_subscription.user_id, v_subscription.id, pause_subscription.at, 9223372036854775807, null,
      format('pause:%s:%s', v_subscription.id, extract(epoch from pause_subscription.at))
    );
  end if;
  return v_subscription;
end
$$;

comment on function private.pause_subscription(uuid, timestamptz) is
  'Pauses an active subscription; PL409 when it is not active, free, for life, or billed by a provider.';

create or replace function private.unpause_subscription(subscription_id uuid, at timestamptz)
  returns billing.user_subscriptions
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_paused billing.user_subscriptions;
  v_subscription billing.user_subscriptions;
  v_end timestamptz;
begin
  select s.* into strict v_paused
  from billing.user_subscriptions s
  where s.id = unpause_subscription.subscription_id
  for update;
  v_subscription := private.transition_subscription(v_paused.id, 'resumed', unpause_subscription.at);
  -- In UTC, so that no zone's clock change makes a day of it longer or shorter.
  v_end := (
    unpause_subscription.at at time zone 'UTC'
    + (v_paused.current_period_end at time zone 'UTC' - v_paused.paused_at at time zone 'UTC')
  ) at time zone 'UTC';
  update billing.user_subscriptions s
  set anchor_at = v_end, current_period_end = v_end, quota_period_end = v_end
  where s.id = v_paused.id
  returning s.* into v_subscription;
  -- Without a limit there was nothing to carry.
  if exists (select from billing.subscription_plans p where p.id = v_subscription.plan_id and p.token_quota is null) then
    perform private.grant_tokens(
      v_subscription.user_id, null, 'plan', v_subscription.id, 100, unpause_subscription.at, v_end,
      format('resume:%s:%s', v_subscription.id, extract(epoch from unpause_subscription.at))
    );
  end if;
  return v_subscription;
end
$$;

comment on function private.unpause_subscription(uuid, timestamptz) is
  'Goes on with a paused subscription: the period ends as much later as the pause was long. PL409 when it is not paused.';
--! EndIncluded private/functions/pause_subscription.sql
--! Included billing/functions/revise_plan.sql
-- A change of terms is a new version: the one before stays as it is for who is on it. Invoker rights: the policies of
-- billing.subscription_plans decide who may.
create or replace function billing.revise_plan(plan_id uuid, changes jsonb)
  returns billing.subscription_plans
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
declare
  v_plan billing.subscription_plans;
  v_result billing.subscription_plans;
begin
  if jsonb_typeof(changes) is distinct from 'object'
    or changes - array['plan_name', 'price_cents', 'trial_days', 'token_quota', 'rollover_limit', 'features', 'access_level', 'is_active'] <> '{}'
  then
    raise exception 'changes may name plan_name, price_cents, trial_days, token_quota, rollover_limit, features, access_level and is_active.'
      using errcode = 'PL422', column = 'changes';
  end if;
  select p.* into v_plan from billing.subscription_plans p where p.id = revise_plan.plan_id;
  if v_plan.id is null then
    raise exception 'There is no such plan.' using errcode = 'PL404', column = 'plan_id';
  end if;
  -- Who may change it locks it, so that of two new versions one is refused: made of the same terms, the second would take back
  -- what the first changed. Who may not is refused by the insert.
  perform from billing.subscription_plans p where p.id = v_plan.id for no key update;
  select p.* into v_plan from billing.subscription_plans p where p.id = v_plan.id;
  if v_plan.superseded_at is not null then
    raise exception 'The plan has a newer version.' using errcode = 'PL409', column = 'plan_id';
  end if;
  v_plan := jsonb_populate_record(v_plan, changes);
  insert into billing.subscription_plans (
    code, plan_name, billing_cycle, price_cents, currency, trial_days, token_quota, rollover_limit, features, access_level,
    is_active
  ) values (
    v_plan.code, v_plan.plan_name, v_plan.billing_cycle, v_plan.price_cents, v_plan.currency, v_plan.trial_days,
    v_plan.token_quota, v_plan.rollover_limit, v_plan.features, v_plan.access_level, v_plan.is_active
  )
  returning * into v_result;
  return v_result;
end
$$;

comment on function billing.revise_plan(uuid, jsonb) is
  'Makes a new version of a plan with some terms changed, given by column name. Needs manage_plans. PL404, PL409, PL422.';
grant execute on function billing.revise_plan(uuid, jsonb) to :PLINTH_USER;
--! EndIncluded billing/functions/revise_plan.sql
--! Included analytics/views/user_activity_summary.sql
-- What accounts do: signing in and learning. Without names and addresses.
create or replace view analytics.user_activity_summary
  with (security_barrier = true)
as
select
  u.id as user_id,
  coalesce(c.sessions, 0) as sessions,
  coalesce(c.active_seconds, 0) as active_seconds,
  coalesce(c.active_days, 0) as active_days,
  coalesce(p.items_started, 0) as items_started,
  coalesce(p.items_completed, 0) as items_completed,
  round(p.items_completed::numeric / p.items_started, 4) as completion_rate,
  coalesce(r.ratings, 0) as ratings,
  coalesce(l.sign_ins, 0) as sign_ins,
  coalesce(l.failed_sign_ins, 0) as failed_sign_ins,
  coalesce(l.sign_in_days, 0) as sign_in_days,
  u.last_login_at,
  p.last_activity_at,
  u.created_at
from identity.users u
left join (
  select
    s.user_id,
    count(*) as sessions,
    sum(s.active_seconds)::bigint as active_seconds,
    count(distinct (s.started_at at time zone 'UTC')::date) as active_days
  from learning.content_consumption s
  group by s.user_id
) c on c.user_id = u.id
left join (
  -- Courses are their parts.
  select
    t.user_id,
    count(*) as items_started,
    count(t.completed_at) as items_completed,
    max(t.last_activity_at) as last_activity_at
  from learning.content_progress t
  join learning.content_items i on i.id = t.item_id and i.content_type <> 'course'
  group by t.user_id
) p on p.user_id = u.id
left join (
  select cr.user_id, count(*) as ratings from learning.content_ratings cr group by cr.user_id
) r on r.user_id = u.id
left join (
  select
    a.user_id,
    count(*) filter (where a.status = 'success') as sign_ins,
    count(*) filter (where a.status in ('failed', 'locked')) as failed_sign_ins,
    count(distinct (a.created_at at time zone 'UTC')::date) filter (where a.status = 'success') as sign_in_days
  from security.login_attempts a
  where a.created_at > now() - interval '30 days'
  group by a.user_id
) l on l.user_id = u.id;

comment on view analytics.user_activity_summary is 'Grain: one row per account. What it consumed and completed, and how it signed in.';
comment on column analytics.user_activity_summary.user_id is 'The account.';
comment on column analytics.user_activity_summary.sessions is 'Sessions with content.';
comment on column analytics.user_activity_summary.active_seconds is 'Time spent with content.';
comment on column analytics.user_activity_summary.active_days is 'Days (UTC) on which a session began.';
comment on column analytics.user_activity_summary.items_started is 'Items begun; courses are counted by their parts.';
comment on column analytics.user_activity_summary.items_completed is 'Those of them that were completed.';
comment on column analytics.user_activity_summary.completion_rate is 'items_completed / items_started, 0 to 1; null when nothing was begun.';
comment on column analytics.user_activity_summary.ratings is 'Ratings given.';
comment on column analytics.user_activity_summary.sign_ins is 'Successful sign-ins of the last 30 days.';
comment on column analytics.user_activity_summary.failed_sign_ins is 'Refused sign-ins of the last 30 days.';
comment on column analytics.user_activity_summary.sign_in_days is 'Days (UTC) of the last 30 with a successful sign-in.';
comment on column analytics.user_activity_summary.last_login_at is 'Last successful sign-in.';
comment on column analytics.user_activity_summary.last_activity_at is 'Last time with content.';
comment on column analytics.user_activity_summary.created_at is 'When the account was made.';
grant select on analytics.user_activity_summary to :PLINTH_ANALYST;
--! EndIncluded analytics/views/user_activity_summary.sql
--! Included analytics/views/content_popularity.sql
-- What people take to: of the last half year, and of late more than of long ago. Grain: one row per item.
drop materialized view if exists analytics.content_popularity;
create materialized view analytics.content_popularity as
with signals as (
  select
    c.item_id, c.user_id, 1 as sessions, 0 as completions, c.active_seconds,
    power(0.5, extract(epoch from now() - c.last_activity_at) / (14 * 86400)) as score
  from learning.content_consumption c
  where c.created_at > now() - interval '180 days' and c.last_activity_at > now() - interval '180 days'
  union all
  select
    p.item_id, p.user_id, 0, 1, 0,
    3 * power(0.5, extract(epoch from now() - p.completed_at) / (14 * 86400))
  from learning.content_progress p
  -- A course is completed by its last part, which is counted for it below.
  join learning.content_items i on i.id = p.item_id and i.content_type <> 'course'
  where p.completed_at > now() - interval '180 days'
),
placed as (
  select s.item_id, s.user_id, s.sessions, s.completions, s.active_seconds, s.score from signals s
  union all
  select i.course_id, s.user_id, s.sessions, s.completions, s.active_seconds, s.score
  from signals s
  join learning.content_items i on i.id = s.item_id
  where i.course_id is not null
)
select
  p.item_id,
  i.content_type,
  i.category_id,
  i.language,
  count(distinct p.user_id) as users,
  sum(p.sessions) as sessions,
  sum(p.completions) as completions,
  sum(p.active_seconds) as active_seconds,
  i.rating_count,
  i.rating_average,
  round(sum(p.score)::numeric, 4) as popularity_score,
  now() as refreshed_at
from placed p
join learning.content_items i on i.id = p.item_id
group by p.item_id, i.id;

-- Refreshing concurrently needs it.
create unique index content_popularity_item_id_idx on analytics.content_popularity (item_id);
-- The most popular first.
create index content_popularity_popularity_score_idx on analytics.content_popularity (popularity_score desc);

comment on materialized view analytics.content_popularity is
  'Grain: one row per item with sessions or completions in the last 180 days. Refreshed by a job.';
comment on column analytics.content_popularity.item_id is 'The item; a course has the sums of its parts.';
comment on column analytics.content_popularity.content_type is 'course, lesson, article and so on.';
comment on column analytics.content_popularity.category_id is 'Where it is filed.';
comment on column analytics.content_popularity.language is 'Its language tag.';
comment on column analytics.content_popularity.users is 'How many users.';
comment on column analytics.content_popularity.sessions is 'How many sessions.';
comment on column analytics.content_popularity.completions is 'How many completions.';
comment on column analytics.content_popularity.active_seconds is 'Time spent in the sessions.';
comment on column analytics.content_popularity.rating_count is 'How many users rated it, ever.';
comment on column analytics.content_popularity.rating_average is 'Average rating, 1.00 to 5.00; null without ratings.';
comment on column analytics.content_popularity.popularity_score is 'Sum over sessions (1) and completions (3), halved every 14 days since.';
comment on column analytics.content_popularity.refreshed_at is 'As of when.';
grant select on analytics.content_popularity to :PLINTH_ANALYST;
--! EndIncluded analytics/views/content_popularity.sql

comment on column learning.heartbeat_result.reason is 'Why it was refused: a reason of access, no_such_version, the value at fault (event_id, from_seconds, to_seconds, active_seconds, occurred_at), or malformed for what cannot be read.';
comment on column learning.heartbeat_result.event_id is 'The client''s id of it; null where that cannot be read.';
