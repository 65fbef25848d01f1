--! Previous: sha1:1905b58edcd12d37e6e061f53e467096e3b764c5
--! Hash: sha1:3d48548725fa7e6d8955ccd09ea47b9b1ad667c9
--! Message: second factor before its secret

-- Who removes a second factor locks it, then its secret. The second half of a sign-in took the two the other way round, so that
-- one of them could fail for a deadlock.
--! Included private/functions/accept_second_factor.sql
-- Decides whether a second factor is good, and uses it up. What was shown was checked outside, where the secrets can be
-- opened; whether it still counts is decided here, under the account's row, which the caller holds. `proof` is
--   {"method": "totp", "factor_id": …, "step": number of the matching 30-second step or null}
--   {"method": "recovery_code", "code_hash": SHA-256 in hex}
--   {"method": "passkey", "factor_id": …, "verified": boolean, "sign_count": …, "backed_up": …}
-- The lock is for what can be guessed: a passkey goes through it, or whoever has the password could shut the owner out.
create or replace function private.accept_second_factor(
  user_id uuid,
  proof jsonb,
  out refusal text,
  out methods text[]
)
  language plpgsql
  volatile
  set search_path = pg_catalog
as $$
#variable_conflict use_column
declare
  v_method text := accept_second_factor.proof ->> 'method';
  v_factor_id uuid := (accept_second_factor.proof ->> 'factor_id')::uuid;
  v_attempts private.mfa_attempts;
  v_totp private.totp_secrets;
  v_passkey private.passkeys;
  v_step bigint := (accept_second_factor.proof ->> 'step')::bigint;
  v_count bigint := (accept_second_factor.proof ->> 'sign_count')::bigint;
begin
  select a.* into v_attempts from private.mfa_attempts a where a.user_id = accept_second_factor.user_id;

  -- The factor is locked before its secret, in the order in which somebody who removes it locks them.
  if v_method = 'totp' then
    select t.* into v_totp
    from private.totp_secrets t
    join identity.mfa_factors f on f.id = t.factor_id
    where t.factor_id = v_factor_id
      and f.user_id = accept_second_factor.user_id
      and f.confirmed_at is not null
    for no key update of f;
    refusal := case
      -- NIST SP 800-63B-4, 3.2.2: after 100 wrong codes in a row codes are over; a recovery code or a passkey begins anew.
      when v_attempts.locked_until > now() or v_attempts.failed_attempts >= 100 then 'second_factor_locked'
      when v_step is null or v_totp.factor_id is null then 'wrong_code'
      -- Right, but shown before: no guess, and not counted as one.
      when v_step <= v_totp.last_used_step then 'code_reused'
    end;
    if refusal is null then
      update private.totp_secrets t set last_used_step = v_step where t.factor_id = v_factor_id;
    end if;
    methods := array['otp'];

  elsif v_method = 'recovery_code' then
    if v_attempts.locked_until > now() then
      refusal := 'second_factor_locked';
    else
      update private.recovery_codes c
      set used_at = now()
      where c.user_id = accept_second_factor.user_id
        and c.code_hash = decode(accept_second_factor.proof ->> 'code_hash', 'hex')
        and c.used_at is null
        -- Codes stand in for a factor; without one there is nothing to recover.
        and exists (
          select from identity.mfa_factors f where f.user_id = accept_second_factor.user_id and f.confirmed_at is not null
        );
      if not found then
        refusal := 'wrong_code';
      else
        perform private.record_security_event(
          'recovery_code_used', accept_second_factor.user_id,
          jsonb_build_object(
            'left',
            (
              select count(*)
              from private.recovery_codes c
              where c.user_id = accept_second_factor.user_id and c.used_at is null
            )
          ),
          'warning'
        );
      end if;
    end if;
    methods := array['otp'];

  elsif v_method = 'passkey' then
    select p.* into v_passkey
    from private.passkeys p
    join identity.mfa_factors f on f.id = p.factor_id
    where p.factor_id = v_factor_id
      and f.user_id = accept_second_factor.user_id
      and f.confirmed_at is not null
    for no key update of f;
    refusal := case
      when v_passkey.factor_id is null or not coalesce((accept_second_factor.proof ->> 'verified')::boolean, false)
      then 'wrong_passkey'
      -- WebAuthn Level 3, 6.1.1: a counter that does not grow means that two devices hold the key.
      when (v_count > 0 or v_passkey.sign_count > 0) and v_count <= v_passkey.sign_count then 'passkey_cloned'
    end;
    if refusal = 'passkey_cloned' then
      perform private.record_security_event(
        'passkey_cloned', accept_second_factor.user_id,
        jsonb_build_object('factor_id', v_factor_id, 'sign_count', v_count, 'expected_above', v_passkey.sign_count), 'warning'
      );
    elsif refusal is null then
      update private.passkeys p
      set
        sign_count = v_count,
        backed_up = p.backup_eligible and coalesce((accept_second_factor.proof ->> 'backed_up')::boolean, false)
      where p.factor_id = v_factor_id;
    end if;
    methods := array[case when v_passkey.backup_eligible then 'swk' else 'hwk' end];

  else
    raise exception 'There is no second factor of that kind.' using errcode = 'PL422';
  end if;

  if refusal is null then
    update identity.mfa_factors f set last_used_at = now() where f.id = v_factor_id;
    delete from private.mfa_attempts a where a.user_id = accept_second_factor.user_id;
    return;
  end if;
  methods := null;
  if refusal = 'wrong_code' then
    perform private.count_wrong_code(accept_second_factor.user_id);
  end if;
  perform private.record_security_event(
    'mfa_failed', accept_second_factor.user_id, jsonb_build_object('method', v_method, 'reason', refusal), 'warning'
  );
end
$$;

comment on function private.accept_second_factor(uuid, jsonb) is
  'Uses up a second factor: null refusal and the amr values shown, or the reason why not. Counts and audits; the caller holds the account.';
--! EndIncluded private/functions/accept_second_factor.sql
