import { type Answerer, type AnswererOptions, startAnswerer } from "../../src/answerer/answerer.ts";
import { setProviderKey } from "../../src/answerer/connect-model.ts";
import { loadConfig } from "../../src/config/config.ts";
import { addModel } from "../support/accounts.ts";
import { collectLog, MASTER_KEYS, until } from "../support/api.ts";
import { connect, type Message, startChat, type UserConnection } from "../support/chat.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

/**
 * A database in which no lease ends by itself within an hour: a busy machine may stand still for longer than the 30 s of the product.
 * A test lets a lease expire by a time in the past.
 */
export async function createAnswererDatabase(): Promise<TestDatabase> {
  const db = await createTestDatabase();
  await withClient(db.url("owner"), (client) =>
    client.query(`
      create function public.lengthen_lease() returns trigger language plpgsql as $$
      begin
        if new.lease_expires_at > clock_timestamp() then
          new.lease_expires_at := new.lease_expires_at + interval '1 hour';
        end if;
        return new;
      end $$;
      create trigger lengthen_lease before insert or update on private.turns
        for each row execute function public.lengthen_lease();
      create trigger lengthen_lease before insert or update on private.room_turns
        for each row execute function public.lengthen_lease()`),
  );
  return db;
}

export const LOOPBACK = { privateNetworks: ["127.0.0.0/8"], trustedUrls: [] };
/** Limits that end what hangs: a recall that they end would be missing in a prompt. */
export const PATIENT = {
  PLINTH_STATEMENT_TIMEOUT_MS: "300000",
  PLINTH_POOL_CONNECTION_TIMEOUT_MS: "300000",
};
const QUICK = { attempts: 3, firstMs: 5, longestMs: 2_000 };

/** An answerer of the test's database that reaches loopback addresses and retries at once. */
export function answererOf(
  db: TestDatabase,
  options: Partial<AnswererOptions> & { lines?: Record<string, unknown>[] } = {},
): Promise<Answerer> {
  const { lines = [], timeouts, ...others } = options;
  return startAnswerer({
    serviceUrl: db.url("service"),
    masterKeys: MASTER_KEYS,
    pool: loadConfig(PATIENT).pool,
    concurrency: 250,
    providerRules: LOOPBACK,
    backOff: QUICK,
    // An attempt that the machine delayed would be missing among those that the provider counts.
    timeouts: { connectMs: 300_000, ...timeouts },
    drainMs: 0,
    logger: collectLog(lines),
    ...others,
  });
}

/** A public model whose provider has this address and key; returns its id. */
export async function modelAt(db: TestDatabase, url: string | null, key?: string): Promise<string> {
  const id = await addModel(db, { isPublic: true });
  await withClient(db.url("owner"), async (client) => {
    const { rows } = await client.query<{ provider: string }>(
      `update llm.model_providers p set api_url = $1, auth_type = $3 from llm.models m
       where m.id = $2 and p.id = m.provider_id returning p.id as provider`,
      [url, id, key === undefined ? "none" : "bearer"],
    );
    if (key !== undefined) await setProviderKey(client, rows[0]!.provider, key, MASTER_KEYS);
  });
  return id;
}

export async function giveTokens(db: TestDatabase, userId: string, amount = 100_000_000): Promise<void> {
  const service = await connect(db, "service");
  await service.rows("select private.grant_tokens($1, $2, 'purchase', null, 100, null, null, 'enough')", [
    userId,
    amount,
  ]);
  await service.end();
}

/** Does what a user does: asks a question in a new chat and requests the answer. */
export async function requestAnswer(
  user: UserConnection,
  model: string | null,
  options: { question?: string; maxTokens?: number; tools?: object[] } = {},
): Promise<{ chat: string; id: string }> {
  const { chat } = await startChat(user, options.question);
  const [message] = await user.rows<Message>(
    "select * from llm.request_answer($1, $2, max_tokens => $3, tools => $4)",
    [chat, model, options.maxTokens ?? 1_000, options.tools ? JSON.stringify(options.tools) : null],
  );
  return { chat, id: message!.id };
}

export async function readMessage(user: UserConnection, id: string): Promise<Message> {
  return (await user.rows<Message>("select * from llm.messages where id = $1", [id]))[0]!;
}

/** Waits for the end of an answer. */
export async function ended(user: UserConnection, id: string): Promise<Message> {
  await until(async () => (await readMessage(user, id)).state !== "streaming", { everyMs: 20 });
  return readMessage(user, id);
}
