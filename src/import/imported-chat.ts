import { unstorable } from "./import.ts";

/** A chat as private.import_chats takes it: parents stand before their children. */
export interface ImportedChat {
  /** `chatgpt:<conversation>` or `plinth:<chat>`; the same key again is the same chat. */
  readonly key: string;
  /** Kept where it is free. */
  readonly id?: string;
  readonly title: string;
  /** ISO 8601; null where the source has no time at all, so that the import's own is taken, once. */
  readonly createdAt: string | null;
  readonly updatedAt: string | null;
  readonly isArchived: boolean;
  /** Key of the last message of the path that was shown last. */
  readonly head: string | null;
  readonly headId?: string | null;
  readonly messages: readonly ImportedMessage[];
}

export interface ImportedMessage {
  readonly key: string;
  /** Kept where it is free. */
  readonly id?: string;
  readonly parent: string | null;
  readonly parentId?: string | null;
  readonly role: Role;
  readonly content: string;
  readonly thinking: string | null;
  readonly images: readonly unknown[] | null;
  readonly toolCalls?: readonly unknown[] | null;
  /** `provider/name`; named in the metadata where no such model is known here. */
  readonly model?: string | null;
  readonly state?: string;
  readonly finishReason?: string | null;
  readonly errorCode?: string | null;
  readonly errorMessage?: string | null;
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Null where neither it nor what stands above it has a time. */
  readonly createdAt: string | null;
  readonly attachments?: readonly unknown[];
  readonly feedback?: unknown;
}

export type Role = "user" | "assistant" | "system" | "tool";

/** A chat that can be sent, or why it cannot; and what of it was left out. */
export interface ChatReading {
  readonly name: string;
  readonly chat?: ImportedChat;
  readonly problem?: string;
  readonly omissions?: readonly string[];
}

const ROLES: readonly unknown[] = ["user", "assistant", "system", "tool"];
const MAX_TITLE_CHARACTERS = 255;
/** As the table has it, in UTF-8. */
const MAX_MESSAGE_BYTES = 1_000_000;

export function isRole(value: unknown): value is Role {
  return ROLES.includes(value);
}

/** Why a message cannot hold these texts; undefined for nothing. */
export function messageProblem(content: string, thinking: string | null): string | undefined {
  for (const text of [content, thinking ?? ""]) {
    const problem = unstorable(text);
    if (problem) return `${problem} in its text`;
    const bytes = Buffer.byteLength(text);
    if (bytes > MAX_MESSAGE_BYTES)
      return `holds ${thousands(bytes)} bytes of text; a message may hold ${thousands(MAX_MESSAGE_BYTES)}`;
  }
  return undefined;
}

/** A title that the table takes, and what was lost by that. */
export function titleOf(value: unknown): { title: string; problem?: string; omission?: string } {
  const title = typeof value === "string" ? value.trim() : "";
  const problem = unstorable(title);
  if (problem) return { title, problem: `the title ${problem}` };
  const characters = [...(title || "Untitled")];
  if (characters.length <= MAX_TITLE_CHARACTERS) return { title: characters.join("") };
  return {
    title: characters.slice(0, MAX_TITLE_CHARACTERS).join(""),
    omission: `the title has ${characters.length} characters; all behind the first ${MAX_TITLE_CHARACTERS} were left out`,
  };
}

function thousands(count: number): string {
  return count.toLocaleString("en-US");
}
