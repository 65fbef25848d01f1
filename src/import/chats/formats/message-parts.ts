import { unstorableWithin } from "../../import.ts";
import { fitsMessage, messageProblem } from "../imported-chat.ts";
import type { Draft, NodeReading } from "./assemble-chat.ts";

/** A piece of a message, in the order in which it was written. */
export type Part =
  | { readonly kind: "text" | "thinking"; readonly text: string }
  | { readonly kind: "call"; readonly id: string; readonly name: string; readonly input: unknown }
  | { readonly kind: "result"; readonly callId: string; readonly text: string };

/** Everything about a message apart from its parts. */
export interface Envelope {
  readonly role: "user" | "assistant";
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly images?: readonly unknown[];
  /** Set if the answer ended early. */
  readonly brokenOff?: boolean;
  readonly feedback?: { readonly rating: "up" | "down"; readonly comment: string } | undefined;
  readonly omissions?: readonly string[];
}

/**
 * Builds the messages of a node. Other products keep the results of tools within the answer; here each is a message of its own,
 * as a model expects it, and the text after it is a message of its own too.
 */
export function messagesOf(parts: readonly Part[], envelope: Envelope): NodeReading {
  const drafts: Draft[] = [];
  let open: Part[] = [];
  const close = (): void => {
    if (open.length > 0) drafts.push(messageOf(open, envelope));
    open = [];
  };
  for (const part of parts) {
    if (part.kind !== "result") {
      if (part.kind === "call" || part.text.trim()) open.push(part);
      continue;
    }
    close();
    drafts.push(resultOf(part, envelope));
  }
  close();
  const { images, omissions = [] } = envelope;
  if (drafts.length === 0 && images?.length) drafts.push(messageOf([], envelope));
  const last = drafts.findLastIndex(({ role }) => role !== "tool");
  const finished = drafts.map((draft, index) => (index === last ? { ...draft, ...ending(envelope) } : draft));
  const problem = finished.map(problemOf).find(Boolean);
  return problem ? { problem } : { messages: finished, omissions };
}

function messageOf(parts: readonly Part[], { role, metadata }: Envelope): Draft {
  const texts = (kind: "text" | "thinking") =>
    parts.flatMap((part) => (part.kind === kind ? [part.text] : [])).join("\n\n");
  const calls = parts.flatMap((part) =>
    part.kind === "call"
      ? [
          {
            id: part.id,
            type: "function",
            function: { name: part.name, arguments: asText(part.input ?? {}) },
          },
        ]
      : [],
  );
  return {
    role,
    content: texts("text"),
    thinking: texts("thinking") || null,
    images: null,
    toolCalls: calls.length > 0 ? calls : null,
    metadata,
  };
}

function resultOf(part: Part & { kind: "result" }, { metadata: { source } }: Envelope): Draft {
  const metadata = { source, toolCallId: part.callId };
  return { role: "tool", content: part.text, thinking: null, images: null, metadata };
}

function ending({ images, brokenOff, feedback, role }: Envelope): Partial<Draft> {
  return {
    ...(images?.length ? { images } : {}),
    ...(role === "assistant" && brokenOff ? { state: "broken_off", finishReason: "error" } : {}),
    ...(role === "assistant" && feedback ? { feedback } : {}),
  };
}

function problemOf(draft: Draft): string | undefined {
  const calls = draft.toolCalls ? JSON.stringify(draft.toolCalls) : "";
  if (!fitsMessage(calls)) return "has calls of tools that are larger than 1 MB";
  return messageProblem(draft.content, draft.thinking) ?? unstorableWithin(draft);
}

/** Returns a text as it is, and other JSON as JSON. */
export function asText(value: unknown): string {
  if (typeof value === "string") return value;
  return value === undefined ? "" : JSON.stringify(value);
}
