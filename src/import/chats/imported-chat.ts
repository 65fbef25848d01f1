import { unstorable } from "../import.ts";

/** A chat in the form that private.import_chats accepts: parents come before their children. */
interface ImportedChat {
  /** `chatgpt:<conversation>`, `claude:<conversation>`, …; the same key identifies the same chat. */
  readonly key: string;
  /** Kept if it is not taken. */
  readonly id?: string;
  readonly title: string;
  /** ISO 8601; null if the source has no time, so that the time of the first import is used. */
  readonly createdAt: string | null;
  readonly updatedAt: string | null;
  readonly isArchived: boolean;
  /** Key of the last message of the path shown last. */
  readonly head: string | null;
  readonly headId?: string | null;
  readonly messages: readonly ImportedMessage[];
}

export interface ImportedMessage {
  readonly key: string;
  /** Kept if it is not taken. */
  readonly id?: string;
  readonly parent: string | null;
  readonly parentId?: string | null;
  readonly role: Role;
  readonly content: string;
  readonly thinking: string | null;
  readonly images: readonly unknown[] | null;
  readonly toolCalls?: readonly unknown[] | null;
  /** `provider/name`; stored in the metadata if the model is unknown here. */
  readonly model?: string | null;
  readonly state?: string;
  readonly finishReason?: string | null;
  readonly errorCode?: string | null;
  readonly errorMessage?: string | null;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Null if neither the message nor an ancestor has a time. */
  readonly createdAt: string | null;
  readonly attachments?: readonly unknown[];
  readonly feedback?: unknown;
}

export type Role = "user" | "assistant" | "system" | "tool";

/** A chat to send, or the problem with it; and its omissions. */
export interface ChatReading {
  readonly name: string;
  readonly chat?: ImportedChat;
  readonly problem?: string;
  readonly omissions?: readonly string[];
}

const ROLES: readonly unknown[] = ["user", "assistant", "system", "tool"];
const MAX_TITLE_CHARACTERS = 255;
/** The table's limit, in UTF-8. */
const MAX_MESSAGE_BYTES = 1_000_000;

export function isRole(value: unknown): value is Role {
  return ROLES.includes(value);
}

/** Returns the reason that a message cannot contain these texts, or undefined. */
export function messageProblem(content: string, thinking: string | null): string | undefined {
  for (const text of [content, thinking ?? ""]) {
    const problem = unstorable(text);
    if (problem) return `${problem} in its text`;
    const bytes = Buffer.byteLength(text);
    if (bytes > MAX_MESSAGE_BYTES)
      return `has ${thousands(bytes)} bytes of text; the limit is ${thousands(MAX_MESSAGE_BYTES)}`;
  }
  return undefined;
}

/** Returns a title that fits the table, and the omission if it was cut. */
export function titleOf(value: unknown): { title: string; problem?: string; omission?: string } {
  const title = typeof value === "string" ? value.trim() : "";
  const problem = unstorable(title);
  if (problem) return { title, problem: `the title ${problem}` };
  const characters = [...(title || "Untitled")];
  if (characters.length <= MAX_TITLE_CHARACTERS) return { title: characters.join("") };
  return {
    title: characters.slice(0, MAX_TITLE_CHARACTERS).join(""),
    omission: `the title has ${characters.length} characters; only the first ${MAX_TITLE_CHARACTERS} were kept`,
  };
}

/** Whether the database stores a text of this length, as content or as JSON. */
export function fitsMessage(text: string): boolean {
  return Buffer.byteLength(text) <= MAX_MESSAGE_BYTES;
}

function thousands(count: number): string {
  return count.toLocaleString("en-US");
}
