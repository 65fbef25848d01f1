drop trigger _200_require_own_prompt on llm.prompt_shares;
drop trigger _490_check_course on learning.content_items;
drop trigger _490_require_visible_skill on learning.content_skills;
--!restore identity/functions/logout.sql
--!restore llm/functions/label_prompt.sql
--!restore llm/functions/rate_message.sql
--!restore learning/triggers/content_skills.sql
--!restore learning/triggers/content_items.sql
--!restore rooms/functions/invite_to_room.sql
--!restore rooms/private/change_general_chat_message.sql

drop function
  learning.check_course(),
  learning.require_visible_skill(),
  llm.require_own_prompt();
