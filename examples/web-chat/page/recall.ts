import { RECALL, SET_SYSTEM_PROMPT } from "./operations.ts";
import { client } from "./plinth.ts";

/**
 * Begins a chat with the memories that its first question recalls, as a system prompt.
 * @returns the prompt; undefined if nothing is recalled
 */
export async function tellWhatIsRemembered(chatId: string, question: string): Promise<string | undefined> {
  const { recallMemories } = await client.request(RECALL, { question });
  if (!recallMemories?.length) return undefined;
  const facts = recallMemories.map(({ memory }) => `- ${memory.text}`);
  const content = `What you know about the user:\n${facts.join("\n")}`;
  // A chat names itself only after a question that is its first message.
  await client.request(SET_SYSTEM_PROMPT, { chatId, content, title: question.slice(0, 80) });
  return content;
}
