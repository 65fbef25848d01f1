import { isObject } from "../../../support/is-object.ts";
import type { ChatReading } from "../imported-chat.ts";
import { readChatGptConversation } from "./chatgpt-conversation.ts";
import { readClaudeConversation } from "./claude.ts";
import { readLibreChatConversation } from "./librechat.ts";
import { readOpenWebUiChat } from "./open-webui.ts";
import { readPlinthChat } from "./plinth-chat.ts";

type Chat = Record<string, unknown>;

interface Format {
  readonly name: string;
  /** The key by which people recognise it in the file. */
  readonly key: string;
  matches(chat: Chat): boolean;
  read(chat: Chat, place: string): ChatReading;
}

/** A format is recognised by a key that only its chats have. */
const FORMATS: readonly Format[] = [
  {
    name: "Plinth",
    key: 'format "plinth-chat"',
    matches: ({ format }) => format === "plinth-chat",
    read: readPlinthChat,
  },
  { name: "ChatGPT", key: "mapping", matches: (chat) => "mapping" in chat, read: readChatGptConversation },
  {
    name: "Claude",
    key: "chat_messages",
    matches: (chat) => "chat_messages" in chat,
    read: readClaudeConversation,
  },
  {
    name: "LibreChat",
    key: "conversationId with messages",
    matches: (chat) => "messagesTree" in chat || ("conversationId" in chat && "messages" in chat),
    read: readLibreChatConversation,
  },
  {
    name: "Open WebUI",
    key: "chat.history",
    matches: (chat) => isObject(chat.chat) || isObject(chat.history),
    read: readOpenWebUiChat,
  },
];

/**
 * Reads a chat in the format that its keys show.
 * @param place where it is in its file, for messages
 */
export function readChat(value: unknown, place: string): ChatReading {
  if (!isObject(value)) return { name: place, problem: "must be an object" };
  const format = FORMATS.find(({ matches }) => matches(value));
  return format ? format.read(value, place) : { name: place, problem: unknownFormat() };
}

function unknownFormat(): string {
  const known = FORMATS.map(({ name, key }) => `${name} (${key})`);
  return `is not a chat in a known format: ${known.slice(0, -1).join(", ")} or ${known.at(-1)}`;
}
