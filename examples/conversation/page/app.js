import { createLiveClient, followAnswer, followRoom } from "./live-client.js";

const { plinthUrl } = await (await fetch("settings.json")).json();
const element = (id) => document.getElementById(id);
const state = (text) => {
  element("state").textContent = text;
};
let token;
let refreshToken;
let expiresAt = 0;

/** Sends one operation over HTTP; retries while the server is unavailable, so mutations carry an idempotency key. */
async function ask(query, variables = {}, authorization = token) {
  for (;;) {
    try {
      const response = await fetch(`${plinthUrl}/graphql`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(authorization && { authorization: `Bearer ${authorization}` }),
        },
        body: JSON.stringify({ query, variables }),
      });
      const { data, errors } = await response.json();
      if (!errors) return data;
      const { code } = errors[0].extensions;
      if (code !== "UNAVAILABLE" && code !== "TIMEOUT")
        throw Object.assign(new Error(errors[0].message), { code });
    } catch (error) {
      if (error.code) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

function keep(credentials) {
  token = credentials.accessToken;
  refreshToken = credentials.refreshToken;
  expiresAt = Date.parse(credentials.accessTokenExpiresAt);
}

const CREDENTIALS = "accessToken accessTokenExpiresAt refreshToken";

/** Returns the access token, refreshed when it is about to expire. */
async function freshToken() {
  if (Date.now() > expiresAt - 30_000) {
    const { refresh } = await ask(
      `mutation ($token: String!) { refresh(input: { refreshToken: $token }) { ${CREDENTIALS} } }`,
      { token: refreshToken },
      null,
    );
    keep(refresh);
  }
  return token;
}

function onSubmit(id, handle) {
  element(id).addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target;
    const values = Object.fromEntries(new FormData(form));
    form.reset();
    await handle(values).catch((error) => state(error.message));
  });
}

function line(list, who, text) {
  const item = document.createElement("li");
  const name = document.createElement("b");
  name.textContent = who;
  const body = document.createElement("span");
  body.textContent = text;
  item.append(name, ": ", body);
  list.append(item);
  return body;
}

let client;
onSubmit("sign-in", async ({ identifier, password }) => {
  const { login } = await ask(`mutation ($input: LoginInput!) { login(input: $input) { ${CREDENTIALS} } }`, {
    input: { identifier, password },
  });
  keep(login);
  client = createLiveClient({
    url: `${plinthUrl.replace("http", "ws")}/graphql`,
    getToken: freshToken,
    onState: (now) => state(now === "open" ? "Connected." : "Connection lost. Reconnecting …"),
  });
  element("sign-in").hidden = true;
  element("room").hidden = false;
  element("chat").hidden = false;
});

let roomId;
let leave = [];
onSubmit("enter", async ({ room }) => {
  await freshToken();
  for (const stop of leave.splice(0)) stop();
  element("events").replaceChildren();
  if (room) {
    await ask("mutation ($room: UUID!) { joinRoom(input: { roomId: $room }) { clientMutationId } }", {
      room,
    });
    roomId = room;
  } else {
    const { createRoom } = await ask(
      `mutation ($key: UUID!) {
         createRoom(input: {
           name: "A conversation", roomType: group, isPublic: true, isAiEnabled: true, idempotencyKey: $key
         }) { result { id } }
       }`,
      { key: crypto.randomUUID() },
    );
    roomId = createRoom.result.id;
  }
  element("room-id").textContent = roomId;
  const ended = (errors) => state(errors?.[0]?.message ?? "You have left the room.");
  leave = [
    followRoom(
      client,
      roomId,
      0,
      ({ kind, message, profile }) => {
        if (kind === "message_posted" && message)
          line(
            element("events"),
            message.senderProfile?.username ?? "AI",
            message.isDeleted ? "(deleted)" : message.content,
          );
        else if (kind === "member_joined") line(element("events"), profile?.username ?? "AI", "(has joined)");
      },
      ended,
    ),
    client.subscribe(
      "subscription ($room: UUID!) { typing(roomId: $room) { members { profile { username } } } }",
      () => ({ room: roomId }),
      ({ data }) => {
        const names = data?.typing?.members.map(({ profile }) => profile?.username) ?? [];
        element("typing").textContent = names.length ? `${names.join(", ")} is writing …` : "";
      },
    ),
  ];
});

let saidTypingAt = 0;
element("say").addEventListener("input", async () => {
  if (!roomId || Date.now() - saidTypingAt < 3_000) return;
  saidTypingAt = Date.now();
  await freshToken();
  await ask("mutation ($room: UUID!) { setTyping(input: { roomId: $room }) { expiresAt } }", {
    room: roomId,
  });
});
onSubmit("say", async ({ text }) => {
  await freshToken();
  await ask(
    `mutation ($room: UUID!, $text: String!, $key: UUID!) {
       postRoomMessage(input: { roomId: $room, content: $text, idempotencyKey: $key }) { clientMutationId }
     }`,
    { room: roomId, text, key: crypto.randomUUID() },
  );
  saidTypingAt = 0;
  await ask(
    "mutation ($room: UUID!) { setTyping(input: { roomId: $room, isTyping: false }) { expiresAt } }",
    {
      room: roomId,
    },
  );
});

let chatId;
onSubmit("ask", async ({ text }) => {
  await freshToken();
  if (!chatId) {
    const { createChat } = await ask(
      'mutation { createChat(input: { chat: { title: "Example" } }) { chat { id } } }',
    );
    chatId = createChat.chat.id;
  }
  await ask(
    `mutation ($chat: UUID!, $text: String!, $key: String!) {
       sendChatMessage(input: { chatId: $chat, content: $text, idempotencyKey: $key }) { message { id } }
     }`,
    { chat: chatId, text, key: crypto.randomUUID() },
  );
  line(element("answers"), "You", text);
  const { models } = await ask("{ models(first: 1) { nodes { id } } }");
  const answered = await fetch("answer", {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify({ chatId, modelId: models.nodes[0].id }),
  });
  const { messageId, error } = await answered.json();
  if (error) throw new Error(error);
  const body = line(element("answers"), "AI", "");
  followAnswer(client, messageId, (soFar, now) => {
    body.textContent = soFar;
    body.dataset.state = now;
  });
});
