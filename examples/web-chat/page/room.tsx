import type { ResultOf } from "plinth/client/graphql";
import { useEffect, useRef, useState } from "preact/hooks";
import { useSubscription } from "./hooks.ts";
import { Composer, Entry, Log } from "./log.tsx";
import { type Model, ModelSelect } from "./model-select.tsx";
import { notify, report } from "./notice.ts";
import * as operations from "./operations.ts";
import { client } from "./plinth.ts";

type Messages = ReadonlyMap<string, operations.RoomMessage>;

/** A room of several people, and an AI if a moderator has chosen its model. */
export function Room(props: { id: string; userId: string; models: readonly Model[]; onAnswer: () => void }) {
  const { id, userId, models, onAnswer } = props;
  const [found, setFound] = useState<ResultOf<typeof operations.ROOM>["room"]>();
  const [messages, setMessages] = useState<Messages>(new Map());
  const load = () =>
    client.request(operations.ROOM, { room: id }).then(({ room, recentRoomMessages }) => {
      setFound(room);
      add(operations.nodesOf(recentRoomMessages).toReversed());
    }, report);
  const add = (news: readonly operations.RoomMessage[]) =>
    setMessages((known) => new Map([...known, ...news.map((message) => [message.id, message] as const)]));
  useEffect(() => void load(), []);

  const after = found?.lastEventSequence;
  useSubscription(operations.ROOM_EVENTS, after === undefined ? after : { room: id, after }, (news) => {
    const events = news.roomEvents?.events ?? [];
    add(events.flatMap(({ message }) => message ?? []));
    if (events.some(({ kind }) => kind === "room_changed")) load();
    if (events.some(({ message }) => message?.senderType === "ai")) onAnswer();
  });
  useReadMark(id, messages);
  const answer = useRoomAnswer(id);
  const typing = useTyping(id, userId);

  const announce = useAnnounceTyping(id);
  const post = async (content: string) => {
    announce(false);
    try {
      await client.request(operations.POST, { room: id, content, key: crypto.randomUUID() });
    } catch (error) {
      report(error);
      throw error;
    }
  };
  const chooseModel = (model: string) =>
    client
      .request(operations.SET_ROOM_MODEL, { room: id, model: model || null, isAiEnabled: model !== "" })
      .then(load, report);
  const mayChoose = ["creator", "moderator"].includes(found?.myMembership?.role ?? "");
  return (
    <section aria-label={found?.name ?? "Room"}>
      <header>
        <h1>{found?.name}</h1>
        {mayChoose && (
          <ModelSelect label="AI" models={models} value={found?.modelId} none="None" onChange={chooseModel} />
        )}
      </header>
      <Log label="Messages of the room">
        {[...messages.values()].map(({ id, content, isDeleted, senderType, senderProfile }) => (
          <Entry
            key={id}
            by={senderType === "ai" ? "AI" : (senderProfile?.username ?? "A former member")}
            kind={senderType === "ai" ? "ai" : senderProfile?.id === userId ? "own" : "other"}
          >
            {isDeleted ? <i>This message was deleted.</i> : content}
          </Entry>
        ))}
        {answer && (
          <Entry by="AI" kind="ai" isStreaming>
            {answer}
          </Entry>
        )}
      </Log>
      <p class="typing" aria-live="polite">
        {typing.length > 0 && `${typing.join(", ")} ${typing.length > 1 ? "are" : "is"} typing …`}
      </p>
      <Composer label="Write to the room" onSend={post} onInput={() => announce(true)} />
    </section>
  );
}

/** The answer that the AI of the room is writing. */
function useRoomAnswer(room: string): string {
  const [text, setText] = useState("");
  useSubscription(operations.ROOM_ANSWER, { room, after: "0" }, ({ roomAnswer }) => {
    if (!roomAnswer) return;
    const { contents, isNew, state, errorCode } = roomAnswer;
    // The complete answer arrives as a message of the room.
    if (state !== "streaming") setText("");
    else setText((known) => (isNew ? "" : known) + contents.join(""));
    if (state === "broken_off" && contents.length > 0) notify(`The AI could not answer: ${errorCode}.`);
  });
  return text;
}

/** Marks the room as read while its messages can be seen. */
function useReadMark(room: string, messages: Messages): void {
  useEffect(() => {
    const mark = () => {
      if (messages.size > 0 && document.visibilityState === "visible")
        client.request(operations.MARK_READ, { room }).catch(report);
    };
    mark();
    document.addEventListener("visibilitychange", mark);
    return () => document.removeEventListener("visibilitychange", mark);
  }, [room, messages]);
}

/** The names of the others who are typing. */
function useTyping(room: string, userId: string): readonly string[] {
  const [names, setNames] = useState<readonly string[]>([]);
  useSubscription(operations.TYPING, { room }, ({ typing }) =>
    setNames(
      (typing?.members ?? []).flatMap(({ profile }) =>
        profile?.username && profile.id !== userId ? [profile.username] : [],
      ),
    ),
  );
  return names;
}

/** An announcement is valid for six seconds. */
const ANNOUNCE_EVERY_MS = 3_000;

function useAnnounceTyping(room: string): (isTyping: boolean) => void {
  const announcedAt = useRef(0);
  return (isTyping) => {
    if (isTyping && Date.now() - announcedAt.current < ANNOUNCE_EVERY_MS) return;
    announcedAt.current = isTyping ? Date.now() : 0;
    // Not worth a message to the user.
    client.request(operations.SET_TYPING, { room, isTyping }).catch(() => {});
  };
}
