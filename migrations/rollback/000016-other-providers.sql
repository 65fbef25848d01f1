drop function
  identity.unlink_provider(text),
  private.finish_provider_link(uuid, text, text, boolean, jsonb, text, text, timestamptz),
  private.finish_provider_sign_in(uuid, text, text, boolean, jsonb, text, text, timestamptz, boolean, boolean, bytea, bytea),
  private.register_by_provider(text, text, text),
  private.username_from(text),
  private.save_provider_profile(uuid, text, text, text, boolean, jsonb, text, text, timestamptz, timestamptz),
  private.lock_provider_subject(text, text),
  private.fail_provider_flow(uuid, text),
  private.take_provider_flow(text, bytea, bytea),
  private.start_provider_flow(text, text, bytea, bytea, text, text, text),
  private.has_another_way_in(uuid, uuid),
  private.check_provider_change();
--!restore private/functions/delete_expired_tokens.sql
drop table private.oauth_states, private.oauth_tokens, identity.oauth_profiles;
