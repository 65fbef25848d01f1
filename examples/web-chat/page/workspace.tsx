import { useEffect, useState } from "preact/hooks";
import { AccountPage } from "./account.tsx";
import { Chat } from "./chat.tsx";
import { useQuery, useReadable, useSubscription } from "./hooks.ts";
import { ACCOUNT, CHATS, MODELS, MY_ROOMS, nodesOf, UNREAD_COUNTS } from "./operations.ts";
import { client } from "./plinth.ts";
import { Room } from "./room.tsx";
import { Sidebar } from "./sidebar.tsx";

/** The open page. */
export type View = { readonly page: "chat" | "room"; readonly id: string } | { readonly page: "account" };

/** Everything that a signed-in user sees. */
export function Workspace({ userId }: { userId: string }) {
  const [view, setView] = useState<View>({ page: "account" });
  const [account, reloadAccount] = useQuery(ACCOUNT);
  const [models] = useQuery(MODELS);
  const [chats, reloadChats] = useQuery(CHATS);
  const [rooms, reloadRooms] = useQuery(MY_ROOMS);
  const unread = useUnreadCounts();
  const connection = useReadable(client.connection);

  const myRooms = nodesOf(rooms?.myRooms);
  // A count of an unknown room: this user has joined it, perhaps in another tab.
  const isOutdated = rooms && Object.keys(unread).some((id) => !myRooms.some((room) => room.id === id));
  useEffect(() => {
    if (isOutdated) reloadRooms();
  }, [isOutdated, reloadRooms]);
  const total = Object.values(unread).reduce((sum, count) => sum + count, 0);
  useEffect(() => {
    document.title = total > 0 ? `(${total}) Web chat` : "Web chat";
  }, [total]);

  // A model without an address is in the catalogue only; it cannot answer.
  const choices = nodesOf(models?.models).filter(({ provider }) => provider?.apiUrl);
  const onAnswer = () => {
    reloadAccount();
    reloadChats();
  };
  return (
    <div class="workspace">
      <Sidebar
        {...{ view, account, unread }}
        chats={nodesOf(chats?.chats)}
        rooms={myRooms}
        onSelect={setView}
        onChange={() => {
          reloadChats();
          reloadRooms();
        }}
      />
      <main>
        <p class="connection" role="status">
          {connection === "waiting" && "Connection lost. Reconnecting …"}
        </p>
        {view.page === "chat" && <Chat key={view.id} id={view.id} models={choices} onAnswer={onAnswer} />}
        {view.page === "room" && (
          <Room key={view.id} id={view.id} userId={userId} models={choices} onAnswer={reloadAccount} />
        )}
        {view.page === "account" && account && <AccountPage account={account} onChange={reloadAccount} />}
      </main>
    </div>
  );
}

/** Unread messages by room. The server sends all counts first and then those that change. */
function useUnreadCounts(): Readonly<Record<string, number>> {
  const [counts, setCounts] = useState<Readonly<Record<string, number>>>({});
  useSubscription(UNREAD_COUNTS, {}, ({ unreadCounts }) => {
    if (!unreadCounts) return;
    const { isWhole } = unreadCounts;
    const news = unreadCounts.counts.map(({ roomId, unreadCount }) => [roomId, Number(unreadCount)]);
    setCounts((known) => ({ ...(isWhole ? {} : known), ...Object.fromEntries(news) }));
  });
  return counts;
}
