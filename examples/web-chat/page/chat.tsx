import type { Answer } from "plinth/client";
import type { ResultOf } from "plinth/client/graphql";
import { useEffect, useState } from "preact/hooks";
import { Composer, Entry, Log } from "./log.tsx";
import { type Model, ModelSelect } from "./model-select.tsx";
import { report } from "./notice.ts";
import { CHAT, nodesOf } from "./operations.ts";
import { client } from "./plinth.ts";
import { tellWhatIsRemembered } from "./recall.ts";

type Path = NonNullable<ResultOf<typeof CHAT>["chat"]>["activePath"];
type Message = Partial<NonNullable<Path["nodes"][number]>>;

/** A chat with a model. */
export function Chat(props: { id: string; models: readonly Model[]; onAnswer: () => void }) {
  const { id, models, onAnswer } = props;
  const [modelId, setModelId] = useState<string>();
  const [messages, setMessages] = useState<readonly Message[]>([]);
  const [answer, setAnswer] = useState<Answer>();
  const [left] = useState(() => new AbortController());
  const { signal } = left;
  const model = modelId ?? models[0]?.id;

  /** Shows an answer as it streams in. */
  const follow = async (next: Answer) => {
    setAnswer(next);
    const begun: Message = { role: "assistant", content: "", state: "streaming" };
    setMessages((known) => [...known, begun]);
    const change = (by: (message: Message) => Message) =>
      setMessages((known) => [...known.slice(0, -1), by(known.at(-1)!)]);
    try {
      for await (const { content, isWhole } of next)
        change((message) => ({ ...message, content: (isWhole ? "" : message.content) + content }));
      const ended = await next.message;
      change(() => ({ ...ended, role: "assistant" }));
    } finally {
      setAnswer(undefined);
      onAnswer();
    }
  };

  // An answer may still be streaming, for example after a reload of the page.
  const load = async () => {
    const { chat } = await client.request(CHAT, { id }, { signal });
    const path = nodesOf(chat?.activePath);
    const last = path.at(-1);
    const isStreaming = last?.state === "streaming";
    setMessages(isStreaming ? path.slice(0, -1) : path);
    if (isStreaming) await follow(client.chat.follow(last.id, { signal }));
  };
  useEffect(() => {
    load().catch(report);
    return () => left.abort();
  }, []);

  const ask = async (content: string) => {
    try {
      if (!model) throw new Error("No model can be asked.");
      if (messages.length === 0) {
        const system = await tellWhatIsRemembered(id, content);
        if (system) setMessages([{ role: "system", content: system }]);
      }
      const next = client.chat.ask({ chatId: id, content, modelId: model, maxTokens: 2_000, signal });
      await next.id;
      setMessages((known) => [...known, { role: "user", content }]);
      follow(next).catch(report);
    } catch (error) {
      report(error);
      throw error;
    }
  };
  return (
    <section aria-label="Chat">
      <ModelSelect label="Model" models={models} value={model} onChange={setModelId} />
      <Log label="Messages">
        {messages.map(({ role, content, state, errorCode, tokensUsed }, index) => (
          <Entry
            key={index}
            by={role === "user" ? "You" : role === "assistant" ? "AI" : "Memory"}
            kind={role === "user" ? "own" : role === "assistant" ? "ai" : "system"}
            isStreaming={state === "streaming"}
            note={noteOf(state, errorCode, tokensUsed)}
          >
            {content}
          </Entry>
        ))}
      </Log>
      <Composer label="Ask something" onSend={ask}>
        {answer && (
          <button type="button" class="quiet" onClick={() => answer.cancel().catch(report)}>
            Stop
          </button>
        )}
      </Composer>
    </section>
  );
}

function noteOf(
  state: Message["state"],
  errorCode: string | null | undefined,
  tokensUsed: number | null | undefined,
): string | undefined {
  if (state === "broken_off") return `The answer was broken off: ${errorCode}.`;
  if (state === "cancelled") return "You stopped the answer.";
  return tokensUsed ? `${tokensUsed} tokens` : undefined;
}
