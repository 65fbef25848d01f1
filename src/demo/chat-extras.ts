import type pg from "pg";

/**
 * Writes what a chat can have besides a sequence of messages: an alternative answer, a rating, a file; and a prompt with
 * variables, two versions and a label.
 * @param client connected as the owner, in a transaction
 * @param userId the owner of the newest chat and of the prompt
 */
export async function writeChatExtras(client: pg.ClientBase, userId: string): Promise<void> {
  await client.query(
    `with answer as (
       select m.* from llm.messages m where m.user_id = $1 and m.role = 'assistant' order by m.id desc limit 1
     ),
     rated as (
       insert into llm.message_feedback (message_id, user_id, chat_id, rating, comment)
       select id, user_id, chat_id, 'down', 'All taken already.' from answer
     ),
     attached as (
       insert into llm.message_attachments (message_id, user_id, chat_id, position, url, mime_type, size_bytes, name)
       select parent_id, user_id, chat_id, 1, 'https://example.com/notes.md', 'text/markdown', 2048, 'notes.md' from answer
     )
     insert into llm.messages (chat_id, user_id, parent_id, role, content, model_id, finish_reason, tokens_used)
     select chat_id, user_id, parent_id, 'assistant', 'Footing, Pedestal, Socle.', model_id, 'stop', 11 from answer`,
    [userId],
  );
  const { rows } = await client.query<{ id: string }>(
    `insert into llm.prompts (user_id, name, content, variables, visibility)
     values ($1, 'Release note', 'Write a release note for {{version}}.', $2, 'shared') returning id`,
    [
      userId,
      JSON.stringify([
        { name: "version", type: "text", description: "Such as 1.2.0." },
        { name: "words", type: "integer", default: 80 },
      ]),
    ],
  );
  await client.query(
    "update llm.prompts set content = 'Write a release note for {{version}} in at most {{words}} words.' where id = $1",
    [rows[0]!.id],
  );
  await client.query(
    "insert into llm.prompt_labels (prompt_id, label, version) values ($1, 'production', 1)",
    [rows[0]!.id],
  );
}
