import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

/** Messages in order; stays at the newest one unless the reader has scrolled up. */
export function Log({ label, children }: { label: string; children: ComponentChildren }) {
  const list = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  const onScroll = () => {
    const { scrollTop, scrollHeight, clientHeight } = list.current!;
    isAtEnd.current = scrollHeight - scrollTop - clientHeight < 40;
  };
  useEffect(() => {
    if (isAtEnd.current) list.current!.scrollTop = list.current!.scrollHeight;
  });
  return (
    <div class="log" role="log" aria-label={label} ref={list} onScroll={onScroll}>
      <ol>{children}</ol>
    </div>
  );
}

export function Entry(props: {
  by: string;
  kind: "own" | "ai" | "other" | "system";
  isStreaming?: boolean;
  note?: string | undefined;
  children: ComponentChildren;
}) {
  return (
    <li class={props.kind} aria-busy={props.isStreaming ?? false}>
      <b>{props.by}</b>
      <p>{props.children}</p>
      {props.note && <small>{props.note}</small>}
    </li>
  );
}

/** A field for a message. Enter sends it, Shift+Enter begins a line. After an error, the text comes back. */
export function Composer(props: {
  label: string;
  onSend: (text: string) => Promise<unknown>;
  onInput?: () => void;
  children?: ComponentChildren;
}) {
  const [text, setText] = useState("");
  const send = async () => {
    const sent = text.trim();
    if (!sent) return;
    setText("");
    await props.onSend(sent).catch(() => setText((now) => now || sent));
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <textarea
        rows={2}
        value={text}
        aria-label={props.label}
        placeholder={props.label}
        onInput={(event) => {
          setText(event.currentTarget.value);
          props.onInput?.();
        }}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
          event.preventDefault();
          send();
        }}
      />
      {props.children}
      <button type="submit">Send</button>
    </form>
  );
}
