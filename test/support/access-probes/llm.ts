import { DENIED, type Probe } from "./probe.ts";
import { catalogue, own } from "./recurring.ts";

export const LLM: Readonly<Record<string, readonly Probe[]>> = {
  "llm.model_providers": catalogue("llm.model_providers", "(name) values ('x')"),
  "llm.models": catalogue("llm.models", "(provider_id, name, display_name) values (:shown, 'x', 'x')"),
  "llm.prompts": [
    ["visitor", "select from llm.prompts", 2],
    // The library, her own, public and shared ones; not one that was shared once and is private now.
    ["ada", "select from llm.prompts", 4],
    ["ada", "update llm.prompts set content = 'y' where user_id = :bob", 0],
    ["ada", "delete from llm.prompts where user_id = :bob", 0],
    ["ada", "insert into llm.prompts (user_id, name, content) values (:ada, 'x', 'x')", 1],
    ["ada", "insert into llm.prompts (user_id, name, content) values (:bob, 'x', 'x')", DENIED],
    ["ada", "insert into llm.prompts (user_id, name, content) values (null, 'x', 'x')", DENIED],
    ["edit_content", "insert into llm.prompts (user_id, name, content) values (null, 'x', 'x')", 1],
    ["ada", "delete from llm.prompts", 1],
    ["edit_content", "delete from llm.prompts", 1],
  ],
  "llm.user_prompts": [["ada", "select from llm.user_prompts", 1]],
  "llm.chats": own("llm.chats", "title = 'x'"),
  "llm.messages": [
    ["ada", "select from llm.messages", 1],
    ["ada", "insert into llm.messages (chat_id, user_id, role) values (:ada, :ada, 'user')", 1],
    ["ada", "insert into llm.messages (chat_id, user_id, role) values (:bob, :bob, 'user')", DENIED],
    [
      "ada",
      "insert into llm.messages (chat_id, user_id, role, model_id) values (:ada, :ada, 'assistant', :hidden)",
      DENIED,
    ],
    ["ada", "update llm.messages set content = 'x'", 0],
    ["ada", "delete from llm.messages", 0],
  ],
  "llm.message_deltas": [["ada", "select from llm.message_deltas", 1]],
  "llm.message_attachments": [["ada", "select from llm.message_attachments", 1]],
  "llm.message_feedback": [["ada", "select from llm.message_feedback", 1]],
  "llm.prompt_versions": [
    ["visitor", "select from llm.prompt_versions", 2],
    ["ada", "select from llm.prompt_versions", 4],
  ],
  "llm.prompt_labels": [
    ["visitor", "select from llm.prompt_labels", 2],
    ["ada", "select from llm.prompt_labels", 4],
  ],
  "llm.prompt_shares": [
    ["ada", "select from llm.prompt_shares", 2],
    ["edit_content", "select from llm.prompt_shares", 0],
    [
      "ada",
      "insert into llm.prompt_shares (prompt_id, owner_id, user_id) select id, user_id, :bob from llm.prompts where user_id = :ada",
      1,
    ],
    [
      "ada",
      "insert into llm.prompt_shares (prompt_id, owner_id, user_id) values (:shown, :bob, :ada)",
      DENIED,
    ],
    ["ada", "update llm.prompt_shares set user_id = user_id", 0],
    ["ada", "delete from llm.prompt_shares where user_id = :ada", 2],
    ["edit_content", "delete from llm.prompt_shares", 0],
  ],
  "llm.conversation_memories": [["ada", "select from llm.conversation_memories", 1]],
  "llm.memories": [["ada", "select from llm.memories", 1]],
};
