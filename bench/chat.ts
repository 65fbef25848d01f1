// The cost of streaming and search, as ratios of one run. Small by default; --messages 1000000 for a large search.
//
// 1. private.append_delta (gapless, checked, announced, one narrow update and one insert) against a plain update and insert of the
//    same rows in one statement, without checks, and against the method without deltas: content = content || piece.
//    Target: at least 0.5 times the plain rate, and more than the concatenation of a long answer.
// 2. A message in its tree against a plain insert of the same row under the same role. Target: at least 0.7.
// 3. Search in 200 own messages among few and among many of others. Target: at most 1.5 times the time.
// 4. The last 50 of a chat's active path at 100 and at 20,000 messages. Target: at most 1.5 times the time.
import { parseArgs } from "node:util";
import pg from "pg";
import { percentile, startPlinth } from "./support.ts";

const { values: flags } = parseArgs({
  options: {
    messages: { type: "string", default: "30000" },
    rounds: { type: "string", default: "3" },
    pieces: { type: "string", default: "1000" },
  },
});
const [MESSAGES, ROUNDS, PIECES] = [Number(flags.messages), Number(flags.rounds), Number(flags.pieces)];
const PIECE = "about as much as a model sends at once ";

const plinth = await startPlinth();
const clients: pg.Client[] = [];
const connect = async (role: string) => {
  const client = new pg.Client(await plinth.databaseUrl(role));
  client.on("error", () => {});
  await client.connect();
  await client.query("set statement_timeout = 0");
  clients.push(client);
  return client;
};
const median = (values: readonly number[]) => percentile(values, 0.5);

try {
  const owner = await connect("owner");
  const service = await connect("service");
  const user = await connect("authenticator");
  const one = async (sql: string, values: unknown[] = [], client = owner) =>
    Object.values((await client.query(sql, values)).rows[0])[0] as string;
  const ada = await one("insert into identity.users (username) values ('ada') returning id");
  await one(
    "select private.grant_tokens($1, 1000000000, 'purchase', null, 100, null, null, 'enough')",
    [ada],
    service,
  );
  const model = await one(
    `with p as (insert into llm.model_providers (name) values ('bench') returning id)
     insert into llm.models (provider_id, name, display_name, is_public) select id, 'm', 'm', true from p returning id`,
  );
  const newChat = () => one("insert into llm.chats (user_id) values ($1) returning id", [ada]);

  /** Milliseconds for `count` calls. */
  const time = async (count: number, call: (n: number) => Promise<unknown>): Promise<number> => {
    const started = performance.now();
    for (let n = 1; n <= count; n++) await call(n);
    return performance.now() - started;
  };
  const report = (what: string, ratio: number, details: string) =>
    console.log(`${what.padEnd(58)} ${ratio.toFixed(2).padStart(6)}   ${details}`);

  // 1. Deltas.
  await owner.query(
    `create schema bench;
     create table bench.turns (like private.turns including all) with (fillfactor = 50);
     create table bench.deltas (like llm.message_deltas including all);
     create table bench.answers (id uuid primary key default plinth.uuid_v7(), content text not null default '')`,
  );
  const deltas = async (commit: "on" | "off") => {
    for (const client of [owner, service]) await client.query(`set synchronous_commit = ${commit}`);
    const appended: number[] = [];
    const plain: number[] = [];
    const concatenated: number[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      const answer = await one("insert into bench.answers default values returning id");
      const chat = await newChat();
      const turn = await one("select id from private.start_turn($1, $2, $3)", [ada, chat, model], service);
      await owner.query("insert into bench.turns select * from private.turns where message_id = $1", [turn]);
      appended.push(
        await time(PIECES, (n) =>
          service.query({
            name: "append",
            text: "select private.append_delta($1, $2, $3)",
            values: [turn, n, PIECE],
          }),
        ),
      );
      plain.push(
        await time(PIECES, (n) =>
          owner.query({
            name: "plain",
            text: `with turn as (
                     update bench.turns set last_sequence = last_sequence + 1, streamed_bytes = streamed_bytes + 39 where message_id = $1
                     returning user_id, message_id
                   )
                   insert into bench.deltas (user_id, message_id, sequence, content) select user_id, message_id, $2, $3 from turn`,
            values: [turn, n, PIECE],
          }),
        ),
      );
      concatenated.push(
        await time(PIECES, () =>
          owner.query({
            name: "concatenate",
            text: "update bench.answers set content = content || $2 where id = $1",
            values: [answer, PIECE],
          }),
        ),
      );
      await service.query("select private.finish_turn($1)", [turn]);
    }
    const perSecond = (times: readonly number[]) => `${Math.round(PIECES / (median(times) / 1000))}/s`;
    report(
      `append_delta / plain update + insert (rate), durable ${commit}`,
      median(plain) / median(appended),
      `${perSecond(appended)} to ${perSecond(plain)}`,
    );
    report(
      `append_delta / concatenation, ${PIECES} pieces, durable ${commit}`,
      median(concatenated) / median(appended),
      `${perSecond(appended)} to ${perSecond(concatenated)}`,
    );
  };
  await deltas("on");
  await deltas("off");

  // 2. Messages. The plain table has the columns, checks and indexes from before trees existed.
  const role = await one(
    "select r.rolname from pg_roles r where r.rolname like '%\\_user' order by length(r.rolname) limit 1",
  );
  await owner.query(
    `create table bench.messages (
       id uuid primary key default plinth.uuid_v7(), chat_id uuid not null, user_id uuid not null default plinth.current_user_id(),
       role text not null, content text not null default '', model_id uuid, created_at timestamptz not null default now(),
       foreign key (chat_id, user_id) references llm.chats (id, user_id)
     );
     alter table bench.messages enable row level security;
     create index on bench.messages (user_id, chat_id, id);
     create index on bench.messages (user_id, id);
     create index on bench.messages (created_at);
     create index on bench.messages (model_id);
     create trigger touch after insert on bench.messages referencing new table as new_messages for each statement
       execute function llm.touch_chats();
     create policy own on bench.messages using (user_id = (select plinth.current_user_id()))
       with check (user_id = (select plinth.current_user_id()) and (model_id is null or access.can_use_model(model_id)));
     grant usage on schema bench to ${pg.escapeIdentifier(role)};
     grant insert, select on bench.messages to ${pg.escapeIdentifier(role)}`,
  );
  const inserts: Record<string, number[]> = { "llm.messages": [], "bench.messages": [] };
  for (let round = 0; round < ROUNDS; round++)
    for (const [table, times] of Object.entries(inserts)) {
      const chat = await newChat();
      times.push(
        await time(200, async () => {
          await user.query("begin");
          await user.query(`set local role ${pg.escapeIdentifier(role)}`);
          await user.query("select set_config('jwt.claims.user_id', $1, true)", [ada]);
          await user.query({
            name: table,
            text: `insert into ${table} (chat_id, role, content) values ($1, 'user', $2)`,
            values: [chat, PIECE],
          });
          await user.query("commit");
        }),
      );
    }
  report(
    "a message in its tree / plain insert (rate)",
    median(inserts["bench.messages"]!) / median(inserts["llm.messages"]!),
    Object.entries(inserts)
      .map(([table, times]) => `${table} ${(median(times) / 200).toFixed(2)} ms`)
      .join(", "),
  );

  // 3. Search.
  const words =
    "array['river','stone','lamp','paper','window','garden','letter','music','winter','bridge','copper','silver']";
  const fill = (owned: string, count: number) =>
    owner.query(
      `with chat as (insert into llm.chats (user_id) values ($1) returning id)
       insert into llm.messages (chat_id, user_id, depth, role, content)
       select chat.id, $1, 1, 'user', (
         select string_agg((${words})[1 + floor(random() * 12)::integer], ' ') from generate_series(1, 30 + 0 * n)
       ) from chat, generate_series(1, $2::integer) n`,
      [owned, count],
    );
  const searcher = await one("insert into identity.users (username) values ('searcher') returning id");
  await fill(searcher, 200);
  const others = await one("insert into identity.users (username) values ('others') returning id");
  const search = async () => {
    await owner.query("analyze llm.messages");
    await owner.query("select set_config('jwt.claims.user_id', $1, false)", [searcher]);
    const times: number[] = [];
    for (let n = 0; n < 30; n++)
      times.push(await time(1, () => owner.query("select from llm.search_chat_messages('copper lamp')")));
    await owner.query("select set_config('jwt.claims.user_id', '', false)");
    return median(times);
  };
  await fill(others, 1_000);
  const few = await search();
  for (let filled = 0; filled < MESSAGES; filled += 50_000)
    await fill(others, Math.min(50_000, MESSAGES - filled));
  await owner.query("vacuum analyze llm.messages");
  const many = await search();
  report(
    `search among ${MESSAGES} / among 1,000 (time)`,
    many / few,
    `${many.toFixed(1)} ms to ${few.toFixed(1)} ms`,
  );

  // 4. The end of a long chat.
  const chain = async (length: number) => {
    const chat = await newChat();
    await owner.query(
      `with numbered as (select plinth.uuid_v7() as id, n from generate_series(1, $3::integer) n order by n)
       insert into llm.messages (id, chat_id, user_id, parent_id, depth, role, content)
       select id, $1, $2, lag(id) over (order by n), n, 'user', 'x' from numbered`,
      [chat, ada, length],
    );
    return chat;
  };
  const page = async (chat: string) => {
    const times: number[] = [];
    for (let n = 0; n < 30; n++)
      times.push(
        await time(1, () =>
          owner.query("select p.* from llm.chats c, llm.chats_active_path(c, 50) p where c.id = $1", [chat]),
        ),
      );
    return median(times);
  };
  const [short, long] = [await chain(100), await chain(20_000)];
  await owner.query("analyze llm.messages");
  const [shortTime, longTime] = [await page(short), await page(long)];
  report(
    "last 50 of 20,000 / of 100 messages (time)",
    longTime / shortTime,
    `${longTime.toFixed(1)} ms to ${shortTime.toFixed(1)} ms`,
  );
} finally {
  for (const client of clients) await client.end().catch(() => {});
  await plinth.stop();
}
