-- Drops every schema of Plinth. `restrict` on purpose: the rollbacks of later migrations must have emptied them.
drop function
  plinth.announce(text, bigint),
  plinth.ascii_label(text),
  plinth.checked_count(integer, text, integer, integer),
  plinth.cjk_pairs(text),
  plinth.client_ip(),
  plinth.correlation_id(),
  plinth.current_api_token_id(),
  plinth.current_session_id(),
  plinth.current_user_id(),
  plinth.is_cjk(text),
  plinth.keep_scale(),
  plinth.normalize_email(text),
  plinth.normalize_username(text),
  plinth.search_document(text, text),
  plinth.search_headline(text, text, tsquery, text),
  plinth.search_query(text, text),
  plinth.search_text(text),
  plinth.touch_updated_at(),
  plinth.user_agent(),
  plinth.uuid_v7(),
  plinth.without_accents(text),
  private.check_batch_size(integer, integer),
  private.delete_old_rows(regclass, name, interval, integer),
  private.ensure_partitions(integer),
  private.lock_for_new_partition(regclass),
  private.refuse_other_request(boolean),
  private.request_digest(jsonb),
  private.require_user_id();

drop text search configuration plinth.english_words;
drop text search dictionary plinth.english_words;
drop extension pg_trgm;
drop extension btree_gin;
drop extension btree_gist;
drop schema private;
drop schema analytics;
drop schema learning;
drop schema rooms;
drop schema billing;
drop schema llm;
drop schema security;
drop schema access;
drop schema identity;
drop schema plinth;
alter default privileges grant execute on functions to public;
