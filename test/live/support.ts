import { type Client, createClient } from "graphql-ws";
import { type Api, codeOf, type SignedIn } from "../support/api.ts";
import { type TestDatabase, withClient } from "../support/database.ts";

/** The answers of a subscription, and how it ended. */
export interface Heard {
  // biome-ignore lint/suspicious/noExplicitAny: what a test asks for is what it gets.
  readonly answers: any[];
  /** The code of the error that ended it, the close code of the socket, or "complete". */
  ended: string | number | undefined;
  stop(): void;
}

export function connect(api: Pick<Api, "url">, user?: SignedIn): Client {
  return createClient({
    url: `${api.url.replace("http", "ws")}/graphql`,
    connectionParams: user ? { authorization: `Bearer ${user.token}` } : {},
    retryAttempts: 0,
    lazy: true,
    onNonLazyError: () => {},
  });
}

/** Subscribes and collects the values of the operation's only field. */
export function listen(client: Client, query: string, variables: Record<string, unknown> = {}): Heard {
  const heard: Heard = { answers: [], ended: undefined, stop: () => stop() };
  const stop = client.subscribe(
    { query, variables },
    {
      next({ data, errors }) {
        if (errors) heard.ended = String(errors[0]?.extensions?.code);
        else heard.answers.push(Object.values(data ?? {})[0]);
      },
      error(error) {
        const errors = error as { extensions?: { code: string } }[] & { code?: number };
        heard.ended = errors[0]?.extensions?.code ?? errors.code ?? String(error);
      },
      complete() {
        heard.ended ??= "complete";
      },
    },
  );
  return heard;
}

const CREATE = "mutation ($input: CreateRoomInput!) { createRoom(input: $input) { result { id } } }";

/** Creates a public room of the first member, which the others join. */
export async function makeRoom(api: Pick<Api, "ask">, members: readonly SignedIn[]): Promise<string> {
  const [creator, ...others] = members;
  const created = await api.ask(CREATE, {
    token: creator!.token,
    variables: { input: { name: "room", roomType: "group", isPublic: true } },
  });
  if (created.errors) throw new Error(created.text);
  const roomId: string = created.data.createRoom.result.id;
  for (const { token } of others) await join(api, token, roomId);
  return roomId;
}

async function join(api: Pick<Api, "ask">, token: string, roomId: string): Promise<void> {
  const joined = await api.ask(
    "mutation ($room: UUID!) { joinRoom(input: { roomId: $room }) { result { id } } }",
    {
      token,
      variables: { room: roomId },
    },
  );
  if (joined.errors) throw new Error(codeOf(joined));
}

export async function post(
  api: Pick<Api, "ask">,
  { token }: SignedIn,
  roomId: string,
  content: string,
  more: Record<string, unknown> = {},
): Promise<void> {
  const posted = await api.ask(
    "mutation ($input: PostRoomMessageInput!) { postRoomMessage(input: $input) { clientMutationId } }",
    { token, variables: { input: { roomId, content, ...more } } },
  );
  if (posted.errors) throw new Error(posted.text);
}

export const ROOM_EVENTS = `subscription ($room: UUID!, $after: BigInt) {
  roomEvents(roomId: $room, after: $after) { sequence events { sequence kind message { content } } }
}`;

/** The contents of the messages in all answers, in order of arrival. */
export function contents({ answers }: Heard): string[] {
  return answers.flatMap(({ events }) =>
    events.flatMap((event: { kind: string; message: { content: string } | null }) =>
      event.kind === "message_posted" ? [event.message?.content] : [],
    ),
  );
}

/** Ends database connections as a crash would; returns how many. */
export async function killConnections(db: TestDatabase, applicationName: string): Promise<number> {
  return withClient(db.adminUrl, async (client) => {
    const { rowCount } = await client.query(
      `select pg_terminate_backend(pid, 10000) from pg_stat_activity
       where application_name = $1 and datname = current_database()`,
      [applicationName],
    );
    return rowCount ?? 0;
  });
}
