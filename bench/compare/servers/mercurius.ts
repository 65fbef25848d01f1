// A GraphQL server by hand: Fastify, Mercurius with JIT, one transaction and one prepared statement a request.
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { verify } from "@node-rs/argon2";
import Fastify, { type FastifyRequest } from "fastify";
import jwt from "jsonwebtoken";
import mercurius, { type MercuriusContext } from "mercurius";
import pg from "pg";
import { serverEnvironment } from "./environment.ts";
import * as SQL from "./sql.ts";

const { port, databaseUrl, key, poolSize } = serverEnvironment();
pg.types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, (text) => text);
const pool = new pg.Pool({ connectionString: databaseUrl, max: poolSize, idleTimeoutMillis: 0 });
pool.on("error", () => {});
const owner = new pg.Pool({
  connectionString: process.env.BENCH_OWNER_URL!,
  max: poolSize,
  idleTimeoutMillis: 0,
});
owner.on("error", () => {});

const SETTINGS = {
  name: "settings",
  text: "select set_config('role', 'plinth_user', true), set_config('jwt.claims.user_id', $1, true), set_config('jwt.claims.session_id', $2, true)",
};

declare module "mercurius" {
  interface MercuriusContext {
    readonly userId: string;
    readonly sessionId: string;
  }
}
type Context = Pick<MercuriusContext, "userId" | "sessionId">;

/** Begin, settings and statement leave together; the answer waits for the commit. */
async function run(
  context: Context,
  name: string,
  text: string,
  values: unknown[] = [],
): Promise<Record<string, unknown>[]> {
  const client = await pool.connect();
  try {
    const [, , result] = await Promise.all([
      client.query("begin"),
      client.query({ ...SETTINGS, values: [context.userId, context.sessionId] }),
      client.query({ name, text, values }),
    ]);
    await client.query("commit");
    client.release();
    return result.rows;
  } catch (error) {
    client.release(true);
    throw error;
  }
}

function accessToken(userId: string, sessionId: string): string {
  return jwt.sign({ sub: userId, sid: sessionId, jti: randomUUID(), tv: 0 }, key, {
    algorithm: "HS256",
    expiresIn: 600,
  });
}

const digest = (token: string) => createHash("sha256").update(token).digest();

/** A new refresh token in place of an old one, or for a new session. */
async function refreshToken(
  client: pg.ClientBase,
  userId: string,
  sessionId: string,
  parentId: string | null,
): Promise<string> {
  const token = randomBytes(32).toString("base64url");
  await client.query({
    name: "refresh",
    text: "insert into private.refresh_tokens (session_id, user_id, parent_id, token_hash, expires_at) values ($1, $2, $3, $4, now() + interval '30 days')",
    values: [sessionId, userId, parentId, digest(token)],
  });
  return token;
}

async function transaction<T>(callback: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await owner.connect();
  try {
    await client.query("begin");
    const result = await callback(client);
    await client.query("commit");
    client.release();
    return result;
  } catch (error) {
    client.release(true);
    throw error;
  }
}

const app = Fastify();
await app.register(mercurius, {
  jit: 1,
  schema: `
    type Model { id: ID! displayName: String! }
    type Message { id: ID! chatId: ID role: String! content: String! createdAt: String model: Model }
    type Messages { nodes: [Message!]! }
    type Chat { id: ID! title: String! updatedAt: String! messages: Messages! }
    type Chats { nodes: [Chat!]! }
    type Access { hasAccess: Boolean reason: String }
    type Item { id: ID! title: String! level: Int! access: Access }
    type Items { nodes: [Item!]! }
    type Unread { unreadCount: String! mentionCount: String! }
    type Profile { username: String }
    type RoomMessage { id: ID! sequence: String! content: String! createdAt: String! senderProfile: Profile }
    type RoomMessages { nodes: [RoomMessage!]! }
    type Room { id: ID! name: String! unread: Unread messages: RoomMessages! }
    type Query { chats: Chats! chat(id: ID!): Chat contentItems: Items! chatRoom(id: ID!): Room }
    type CreateMessage { message: Message! }
    type Hold { id: ID! }
    type ReserveTokens { result: Hold! }
    type Tokens { accessToken: String! refreshToken: String! }
    type Mutation {
      createMessage(chatId: ID!, content: String!): CreateMessage!
      reserveTokens(key: String!): ReserveTokens!
      login(identifier: String!, password: String!): Tokens!
      refresh(token: String!): Tokens!
    }`,
  context: (request: FastifyRequest) => {
    const token = request.headers.authorization?.slice("Bearer ".length);
    if (!token) return {};
    const { sub, sid } = jwt.verify(token, key, { algorithms: ["HS256"] }) as jwt.JwtPayload;
    return { userId: sub, sessionId: sid };
  },
  resolvers: {
    Chat: { messages: ({ messages }: { messages: unknown[] }) => ({ nodes: messages }) },
    Room: { messages: ({ messages }: { messages: unknown[] }) => ({ nodes: messages }) },
    Query: {
      chats: async (_: unknown, _args: unknown, context: Context) => ({
        nodes: await run(context, "deep", SQL.DEEP_PAGE),
      }),
      chat: async (_: unknown, { id }: { id: string }, context: Context) =>
        (await run(context, "one", SQL.ONE_ROW, [id]))[0],
      contentItems: async (_: unknown, _args: unknown, context: Context) => ({
        nodes: await run(context, "content", SQL.CONTENT_PAGE),
      }),
      chatRoom: async (_: unknown, { id }: { id: string }, context: Context) =>
        (await run(context, "room", SQL.ROOM_PAGE, [id]))[0],
    },
    Mutation: {
      createMessage: async (
        _: unknown,
        { chatId, content }: { chatId: string; content: string },
        context: Context,
      ) => ({
        message: (await run(context, "create", SQL.CREATE_MESSAGE, [chatId, content]))[0],
      }),
      // The bare ledger, in one statement that commits by itself.
      reserveTokens: async (_: unknown, { key }: { key: string }, context: Context) => {
        const { rows } = await owner.query({
          name: "reserve",
          text: "select bench.hold($1, $2) as id",
          values: [context.userId, key],
        });
        return { result: rows[0] };
      },
      login: async (_: unknown, { identifier, password }: { identifier: string; password: string }) => {
        const { rows } = await owner.query({
          name: "login",
          text: "select u.id, p.password_hash from identity.users u join private.user_passwords p on p.user_id = u.id where u.username = $1",
          values: [identifier],
        });
        if (!rows[0] || !(await verify(rows[0].password_hash, password)))
          throw new Error("Wrong name or password.");
        const userId = rows[0].id as string;
        return transaction(async (client) => {
          const session = await client.query({
            name: "session",
            text: "insert into identity.user_sessions (user_id, expires_at) values ($1, now() + interval '90 days') returning id",
            values: [userId],
          });
          const sessionId = session.rows[0].id as string;
          return {
            accessToken: accessToken(userId, sessionId),
            refreshToken: await refreshToken(client, userId, sessionId, null),
          };
        });
      },
      refresh: (_: unknown, { token }: { token: string }) =>
        transaction(async (client) => {
          const { rows } = await client.query({
            name: "use",
            text: `update private.refresh_tokens set used_at = now(), successor_sealed = '\\x00'
              where token_hash = $1 and used_at is null and expires_at > now() returning id, user_id, session_id`,
            values: [digest(token)],
          });
          if (!rows[0]) throw new Error("The refresh token is not valid.");
          const { id, user_id, session_id } = rows[0];
          return {
            accessToken: accessToken(user_id, session_id),
            refreshToken: await refreshToken(client, user_id, session_id, id),
          };
        }),
    },
  },
});
await app.listen({ port, host: "127.0.0.1" });
process.send?.("ready");
