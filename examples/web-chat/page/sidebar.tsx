import { submit, useQuery } from "./hooks.ts";
import { report } from "./notice.ts";
import { type Account, CREATE_ROOM, JOIN_ROOM, nodesOf, PUBLIC_ROOMS } from "./operations.ts";
import { client } from "./plinth.ts";
import type { View } from "./workspace.tsx";

export function Sidebar(props: {
  view: View;
  account: Account | undefined;
  chats: readonly { id: string; title: string }[];
  rooms: readonly { id: string; name: string }[];
  unread: Readonly<Record<string, number>>;
  onSelect: (view: View) => void;
  onChange: () => void;
}) {
  const { view, account, chats, rooms, unread, onSelect, onChange } = props;
  const open = (next: View) => {
    onSelect(next);
    onChange();
  };
  const startChat = () => client.chat.create().then((id) => open({ page: "chat", id }), report);
  const openId = "id" in view ? view.id : undefined;
  return (
    <nav aria-label="Chats and rooms">
      <h2>
        Chats
        <button type="button" class="quiet" onClick={startChat}>
          New chat
        </button>
      </h2>
      <ul id="chats">
        {chats.map(({ id, title }) => (
          <Entry key={id} isOpen={id === openId} onOpen={() => onSelect({ page: "chat", id })}>
            {title || "New chat"}
          </Entry>
        ))}
      </ul>
      <h2>Rooms</h2>
      <ul id="rooms">
        {rooms.map(({ id, name }) => (
          <Entry key={id} isOpen={id === openId} onOpen={() => onSelect({ page: "room", id })}>
            {name || "Direct messages"}
            {unread[id] ? (
              <span class="badge">
                {unread[id]} <span class="unseen">unread</span>
              </span>
            ) : null}
          </Entry>
        ))}
      </ul>
      <OtherRooms onEnter={(id) => open({ page: "room", id })} />
      <footer>
        <button
          type="button"
          class="entry"
          aria-current={view.page === "account" ? "page" : undefined}
          onClick={() => onSelect({ page: "account" })}
        >
          {account?.currentUser?.username ?? "Account"}
          <small id="balance">{balanceOf(account)}</small>
        </button>
        <button type="button" class="quiet" onClick={() => client.auth.signOut()}>
          Sign out
        </button>
      </footer>
    </nav>
  );
}

function Entry(props: { isOpen: boolean; onOpen: () => void; children: preact.ComponentChildren }) {
  return (
    <li>
      <button
        type="button"
        class="entry"
        aria-current={props.isOpen ? "page" : undefined}
        onClick={props.onOpen}
      >
        {props.children}
      </button>
    </li>
  );
}

/** Public rooms to join, and a form for another one. */
function OtherRooms({ onEnter }: { onEnter: (id: string) => void }) {
  const [found, reload] = useQuery(PUBLIC_ROOMS);
  const others = nodesOf(found?.rooms).filter(({ myMembership }) => !myMembership);
  const enter = (id: string) => {
    reload();
    onEnter(id);
  };
  const join = (room: string) => client.request(JOIN_ROOM, { room }).then(() => enter(room), report);
  const create = submit(async ({ name = "" }) => {
    const { createRoom } = await client.request(CREATE_ROOM, { name, key: crypto.randomUUID() });
    enter(createRoom!.result!.id);
  });
  return (
    <details onToggle={reload}>
      <summary>Find or create a room</summary>
      <ul id="public-rooms">
        {others.map(({ id, name }) => (
          <li key={id}>
            <button type="button" class="entry" onClick={() => join(id)}>
              {name} <small>Join</small>
            </button>
          </li>
        ))}
      </ul>
      <form id="create-room" class="row" onSubmit={create}>
        <input name="name" placeholder="Name of a new room" aria-label="Name of a new room" required />
        <button type="submit">Create</button>
      </form>
    </details>
  );
}

function balanceOf(account: Account | undefined): string {
  if (!account?.tokenBalance) return "";
  const { available, isUnlimited } = account.tokenBalance;
  return isUnlimited ? "unlimited tokens" : `${Number(available).toLocaleString("en")} tokens left`;
}
