// The cost of the shared search configuration, as ratios of one run, compared with PostgreSQL's english configuration alone (which
// the searches used before): the same texts in two tables with the same columns and one index each.
//
// 1. Writing a message to llm.messages, as the API does, with the index and with an english index instead.
// 2. Bulk writing, which is mostly indexing. 3. The size of the indexes. 4. Searching: a frequent and a rare word, two words, a phrase.
// node bench/search.ts [--messages 100000] [--rounds 30]
import { parseArgs } from "node:util";
import pg from "pg";
import { percentile, startPlinth } from "./support.ts";

const { values: flags } = parseArgs({
  options: { messages: { type: "string", default: "100000" }, rounds: { type: "string", default: "30" } },
});
const [MESSAGES, ROUNDS] = [Number(flags.messages), Number(flags.rounds)];
const EXPRESSIONS = {
  english: "to_tsvector('pg_catalog.english', content)",
  shared: "plinth.search_document('en', content)",
};
const QUERIES = {
  english: "websearch_to_tsquery('pg_catalog.english', $1)",
  shared: "plinth.search_query('en', $1)",
};
type Kind = keyof typeof EXPRESSIONS;
const KINDS: Kind[] = ["english", "shared"];
/** Texts of about 400 characters and 70 words; one in 500 contains `rare`. */
const TEXT = `select string_agg(
    (array['the','model','reads','tokens','and','answers','of','people','with','databases','running','in','a','policy-based','café','system.'])
      [1 + abs(hashint8(i * 1000 + w)) % 16] || case when w % 7 = 0 then (abs(hashint8(i * 77 + w)) % 5000)::text else '' end, ' ')
    || case when i % 500 = 0 then ' rare' else '' end
  from generate_series(1, 70) w`;

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
const time = async (work: () => Promise<unknown>) => {
  const started = performance.now();
  await work();
  return performance.now() - started;
};
/** Returns the median time of each kind. The kinds alternate, so that other load on the machine affects both equally. */
async function compare(
  work: (kind: Kind) => Promise<unknown>,
  rounds = ROUNDS,
): Promise<Record<Kind, number>> {
  const times: Record<Kind, number[]> = { english: [], shared: [] };
  for (let round = -2; round < rounds; round++)
    for (const kind of round % 2 ? KINDS : KINDS.toReversed()) {
      const took = await time(() => work(kind));
      if (round >= 0) times[kind].push(took);
    }
  return { english: median(times.english), shared: median(times.shared) };
}
const report = (what: string, { english, shared }: Record<Kind, number>, unit = "ms") =>
  console.log(
    `${what.padEnd(44)} english ${english.toFixed(2)} ${unit}  shared ${shared.toFixed(2)} ${unit}  ratio ${(shared / english).toFixed(2)}`,
  );

try {
  const owner = await connect("owner");
  const user = await connect("authenticator");
  const one = async (sql: string, values: unknown[] = []) =>
    Object.values((await owner.query(sql, values)).rows[0])[0] as string;
  const ada = await one("insert into identity.users (username) values ('ada') returning id");
  const chat = await one("insert into llm.chats (user_id) values ($1) returning id", [ada]);
  const texts = (
    await owner.query<{ text: string }>(`select (${TEXT}) as text from generate_series(1, 300) i`)
  ).rows.map(({ text }) => text);

  // 1. Each round of 100 drops the index and creates the one of its kind.
  const index = {
    english: "gin (user_id, to_tsvector('pg_catalog.english', left(content, 100000)))",
    shared: "gin (user_id, plinth.search_document('en', content))",
  };
  let written = 0;
  const write = async () => {
    for (let n = 0; n < 100; n++) {
      await user.query(
        `begin; select set_config('role', 'plinth_user', true), set_config('jwt.claims.user_id', '${ada}', true)`,
      );
      await user.query({
        name: "send",
        text: "select id from llm.send_chat_message($1, $2)",
        values: [chat, texts[written++ % texts.length]],
      });
      await user.query("commit");
    }
  };
  for (const durable of ["on", "off"]) {
    await user.query(`set synchronous_commit = ${durable}`);
    const times: Record<Kind, number[]> = { english: [], shared: [] };
    for (let round = 0; round < 8; round++)
      for (const kind of round % 2 ? KINDS : KINDS.toReversed()) {
        await owner.query(
          `drop index llm.messages_search_idx;
           create index messages_search_idx on llm.messages using ${index[kind]} where role in ('user', 'assistant')`,
        );
        times[kind].push((await time(write)) / 100);
      }
    report(`sending a message, durable ${durable}`, {
      english: median(times.english),
      shared: median(times.shared),
    });
  }

  // 2. and 3.
  for (const kind of KINDS)
    await owner.query(
      `create table plinth.bench_${kind} (id bigint primary key, content text not null);
       create index bench_${kind}_idx on plinth.bench_${kind} using gin (${EXPRESSIONS[kind]})`,
    );
  await owner.query(
    `create table plinth.bench_texts as select i as id, (${TEXT}) as content from generate_series(1, ${MESSAGES}) i`,
  );
  const bulk: Record<Kind, number> = { english: 0, shared: 0 };
  for (const kind of KINDS)
    bulk[kind] = await time(() =>
      owner.query(`insert into plinth.bench_${kind} select * from plinth.bench_texts`),
    );
  report(`writing ${MESSAGES} rows at once`, bulk);
  await owner.query("vacuum analyze plinth.bench_english");
  await owner.query("vacuum analyze plinth.bench_shared");
  const size = async (kind: Kind) =>
    Number(await one(`select pg_relation_size('plinth.bench_${kind}_idx') / 1e6`));
  report("size of the index", { english: await size("english"), shared: await size("shared") }, "MB");

  // 4. Like search_chat_messages: at most the newest 1,000, ranked.
  for (const query of ["rare", "databases", "rare databases", '"answers of people"', "model -rare"]) {
    const search = (kind: Kind) =>
      owner.query({
        name: `search ${kind}`,
        text: `with q as materialized (select ${QUERIES[kind]} as query),
          found as (select m.id, m.content from plinth.bench_${kind} m, q where ${EXPRESSIONS[kind]} @@ q.query order by m.id desc limit 1000)
          select f.id from found f, q order by ts_rank_cd(${EXPRESSIONS[kind].replace("content", "f.content")}, q.query, 1) desc, f.id limit 20`,
        values: [query],
      });
    report(`searching ${query}`, await compare(search));
  }
} finally {
  for (const client of clients) await client.end().catch(() => {});
  await plinth.stop();
}
