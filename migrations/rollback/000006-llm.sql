drop function private.import_prompts(jsonb), llm.use_prompt(uuid);
drop index identity.user_settings_default_model_id_idx;
alter table identity.user_settings drop constraint user_settings_default_model_id_fkey;
-- Policies of each table ask about the others: let go of them first.
drop policy select_usable on llm.models;
drop policy select_usable on llm.model_providers;
drop table llm.messages, llm.chats, llm.user_prompts, llm.prompts, access.user_model_access, llm.models, llm.model_providers;
drop function llm.touch_chats(), access.can_use_model(uuid), access.usable_model_ids();
