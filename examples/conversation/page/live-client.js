// A client for GraphQL subscriptions (graphql-transport-ws) in one file, for browsers and Node. It reconnects automatically and
// restarts all open subscriptions. It reads their variables again, so that a cursor in them resumes at the right place.

const FIRST_RETRY_MS = 200;
const LONGEST_RETRY_MS = 5_000;
/** A connection that stays silent longer than this, even after a ping, is dead; a broken network may not close it. */
const SILENCE_MS = 10_000;
/** Temporary errors. */
const PASSING = new Set(["UNAVAILABLE", "TIMEOUT", "RATE_LIMITED"]);

/** See live-client.d.ts for parameters and results. */
export function createLiveClient({ url, getToken, onState = () => {} }) {
  const open = new Map();
  let socket;
  let isReady = false;
  let isClosed = false;
  let retries = 0;
  let lastId = 0;
  let timer;

  async function connect() {
    let token;
    try {
      token = await getToken();
    } catch {
      return again();
    }
    if (isClosed) return;
    const current = new WebSocket(url, "graphql-transport-ws");
    socket = current;
    let lastHeard = Date.now();
    const watching = setInterval(() => {
      if (Date.now() - lastHeard > SILENCE_MS * 2) return lost();
      if (Date.now() - lastHeard > SILENCE_MS && current.readyState === 1) send({ type: "ping" });
    }, SILENCE_MS / 2);
    const send = (message) => current.send(JSON.stringify(message));
    // Called by the first sign of the end; without a network, the socket never closes itself.
    function lost() {
      clearInterval(watching);
      if (socket !== current) return;
      socket = undefined;
      isReady = false;
      current.close();
      again();
    }
    current.onopen = () =>
      send({ type: "connection_init", payload: token ? { authorization: `Bearer ${token}` } : {} });
    current.onclose = lost;
    current.onerror = lost;
    current.onmessage = ({ data }) => {
      if (socket !== current) return;
      lastHeard = Date.now();
      const message = JSON.parse(data);
      if (message.type === "ping") send({ type: "pong" });
      if (message.type === "connection_ack") {
        retries = 0;
        isReady = true;
        onState("open");
        for (const [id, subscription] of open) start(id, subscription);
      }
      const subscription = open.get(message.id);
      if (!subscription) return;
      if (message.type === "next") subscription.onNext(message.payload);
      if (message.type === "complete") end(message.id, undefined);
      if (message.type === "error") {
        if (PASSING.has(message.payload[0]?.extensions?.code))
          setTimeout(() => isReady && open.has(message.id) && start(message.id, subscription), 1_000);
        else end(message.id, message.payload);
      }
    };
  }

  function again() {
    if (isClosed) return;
    onState("waiting");
    const delay = Math.min(FIRST_RETRY_MS * 2 ** retries++, LONGEST_RETRY_MS) * (0.75 + Math.random() / 2);
    clearTimeout(timer);
    timer = setTimeout(connect, delay);
  }

  function start(id, { query, variables }) {
    socket.send(JSON.stringify({ id, type: "subscribe", payload: { query, variables: variables() } }));
  }

  function end(id, errors) {
    const subscription = open.get(id);
    open.delete(id);
    subscription?.onEnd?.(errors);
  }

  connect();
  return {
    subscribe(query, variables, onNext, onEnd) {
      const id = String(++lastId);
      const subscription = { query, variables, onNext, onEnd };
      open.set(id, subscription);
      if (isReady) start(id, subscription);
      return () => {
        if (open.delete(id) && isReady) socket.send(JSON.stringify({ id, type: "complete" }));
      };
    },
    close() {
      isClosed = true;
      clearTimeout(timer);
      open.clear();
      const current = socket;
      socket = undefined;
      current?.close();
    },
  };
}

const ROOM_EVENTS = `subscription ($room: UUID!, $after: BigInt) {
  roomEvents(roomId: $room, after: $after) {
    sequence
    events { sequence kind profile { username } message { id content senderType isDeleted senderProfile { username } } }
  }
}`;

/** Follows a room after an event (0 is its beginning): delivers every event once and in order, across reconnections. */
export function followRoom(client, room, after, onEvent, onEnd) {
  let cursor = after;
  return client.subscribe(
    ROOM_EVENTS,
    () => ({ room, after: cursor }),
    ({ data }) => {
      if (!data?.roomEvents) return;
      for (const event of data.roomEvents.events) onEvent(event);
      cursor = data.roomEvents.sequence;
    },
    onEnd,
  );
}

const MESSAGE_DELTAS = `subscription ($message: UUID!, $after: Int) {
  messageDeltas(messageId: $message, after: $after) {
    sequence isOver deltas { sequence content } message { state content }
  }
}`;

/** Follows an answer: calls `onText` with its whole text so far whenever it grows. */
export function followAnswer(client, message, onText, onEnd) {
  let cursor = 0;
  let text = "";
  return client.subscribe(
    MESSAGE_DELTAS,
    () => ({ message, after: cursor }),
    ({ data }) => {
      if (!data?.messageDeltas) return;
      const { deltas, sequence, isOver, message: answer } = data.messageDeltas;
      for (const { content } of deltas) text += content;
      cursor = sequence;
      if (isOver) text = answer.content;
      onText(text, isOver ? answer.state : "streaming");
    },
    onEnd,
  );
}
