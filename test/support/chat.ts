import type pg from "pg";
import { asRole, cutOff, type TestDatabase, withClient } from "./database.ts";
import { takeKeptClient } from "./kept-connections.ts";

/** A message as the tests see it. */
export interface Message {
  readonly id: string;
  readonly chat_id: string;
  readonly parent_id: string | null;
  readonly depth: number;
  readonly role: string;
  readonly content: string;
  readonly thinking: string | null;
  readonly state: string;
  readonly finish_reason: string | null;
  readonly error_code: string | null;
  readonly last_sequence: number;
  readonly tokens_used: number | null;
  readonly tool_calls: unknown;
}

/** A connection of the authenticator that runs each statement in its own transaction, as one user, as the API does. */
export interface UserConnection {
  rows<Row extends object = Record<string, unknown>>(sql: string, params?: unknown[]): Promise<Row[]>;
  /** Ends it as if its process had been killed. */
  kill(): void;
  end(): Promise<void>;
}

export async function connectAs(db: TestDatabase, userId: string): Promise<UserConnection> {
  const { client, giveBack } = await takeKeptClient(db.url("authenticator"));
  return {
    async rows<Row extends object>(sql: string, params?: unknown[]) {
      await client.query("begin");
      try {
        await asRole(client, { name: "user", prefix: db.rolePrefix }, { user_id: userId });
        const { rows } = await client.query<Row & pg.QueryResultRow>(sql, params);
        await client.query("commit");
        return rows as Row[];
      } catch (error) {
        await client.query("rollback").catch(() => {});
        throw error;
      }
    },
    kill: () => cutOff(client),
    end: giveBack,
  };
}

/** A chat with one question in it. */
export async function startChat(
  user: Pick<UserConnection, "rows">,
  question = "What is a plinth?",
): Promise<{ chat: string; question: string }> {
  const [chat] = await user.rows<{ id: string }>("insert into llm.chats default values returning id");
  const [message] = await user.rows<Message>("select * from llm.send_chat_message($1, $2)", [
    chat!.id,
    question,
  ]);
  return { chat: chat!.id, question: message!.id };
}

/** Lets a turn's lease expire, as time would. */
export async function expireLease(db: TestDatabase, message: string): Promise<void> {
  await withClient(db.url("owner"), (client) =>
    client.query(
      "update private.turns set lease_expires_at = now() - interval '1 second' where message_id = $1",
      [message],
    ),
  );
}

/** Runs statements on one connection of a login role. */
export async function connect(db: TestDatabase, role: "service" | "owner" | "worker") {
  const { client, giveBack } = await takeKeptClient(db.url(role));
  return {
    rows: async <Row extends object = Record<string, unknown>>(sql: string, params?: unknown[]) =>
      (await client.query<Row & pg.QueryResultRow>(sql, params)).rows as Row[],
    kill: () => cutOff(client),
    end: giveBack,
  };
}
