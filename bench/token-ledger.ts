// The cost of exactness: reserve + settle (two calls, two transactions) against two plain row updates (two transactions)
// with the same clients over the same users, alternately. Target: at least 0.6 times the rate at 1, 8 and 32 clients. For comparison,
// two more: the same two updates of a row of token_grants, and the minimum work of any ledger with holds and keys (bare-ledger.ts).
// Also a balance call with few and with many events. Target: at most 1.5 times the time.
// Uses pgbench if it is installed, because its clients cost little; otherwise connections of this process.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { bareLedger } from "./bare-ledger.ts";
import { percentile, startPlinth } from "./support.ts";

const USERS = 1_000;
const SECONDS = 4;
const ROUNDS = 3;
const LOAD_MS = 120_000;
const MODEL = "00000000-0000-7000-8000-000000000001";
const USER = "('00000000-0000-7000-8000-' || lpad(:u::text, 12, '0'))::uuid";
const hasPgbench = spawnSync("pgbench", ["--version"]).status === 0;

const SCRIPTS = {
  plain: [
    "update bench.a set n = n + 1 where id = :u returning id",
    "update bench.b set n = n + 1 where id = :u",
  ],
  grants: [
    `update billing.token_grants set held = held + 1000 where user_id = ${USER} and idempotency_key = 'g'`,
    `update billing.token_grants set held = held - 1000, consumed = consumed + 500
      where user_id = ${USER} and idempotency_key = 'g'`,
  ],
  least: [`select bench.hold(${USER}, gen_random_uuid()::text) as got`, "select bench.settle(:got, 500)"],
  ledger: [
    `select id as got from private.reserve_tokens(${USER}, '${MODEL}', 1000, gen_random_uuid()::text)`,
    "select id from private.settle_hold(:got, 300, 200)",
  ],
};
type Script = keyof typeof SCRIPTS;
/** Scripts whose second statement needs the result of the first. */
const CHAINED: ReadonlySet<Script> = new Set(["least", "ledger"]);

const TABLES = `
  create schema bench;
  create table bench.a (id integer primary key, n bigint) with (fillfactor = 50);
  create table bench.b (id integer primary key, n bigint) with (fillfactor = 50);
  insert into bench.a select g, 0 from generate_series(1, ${USERS}) g;
  insert into bench.b select * from bench.a;
  ${bareLedger("select id from identity.users where username like 'bench%'")}
  analyze bench.a; analyze bench.b; analyze bench.balances;`;

/** Pairs of calls per second. */
async function rate(url: string, script: Script, clients: number): Promise<number> {
  const [first, second] = SCRIPTS[script] as [string, string];
  if (hasPgbench) {
    const folder = mkdtempSync(join(tmpdir(), "plinth-bench-"));
    const file = join(folder, "script.sql");
    const middle = CHAINED.has(script) ? " \\gset\n" : ";\n";
    writeFileSync(file, `\\set u random(1, ${USERS})\n${first}${middle}${second};\n`);
    const flags = ["-n", "-M", "prepared", "-c", `${clients}`, "-T", `${SECONDS}`, "-f", file, url];
    const { stdout, stderr } = spawnSync("pgbench", flags, { encoding: "utf8" });
    rmSync(folder, { recursive: true });
    const tps = Number(/tps = ([\d.]+)/.exec(stdout)?.[1]);
    if (!(tps > 0) || /ERROR|aborted/.test(stderr)) throw new Error(stderr || stdout);
    return tps;
  }
  const connections = await Promise.all(
    Array.from({ length: clients }, async () => {
      const client = new pg.Client(url);
      await client.connect();
      return client;
    }),
  );
  const end = performance.now() + SECONDS * 1_000;
  let pairs = 0;
  await Promise.all(
    connections.map(async (client) => {
      while (performance.now() < end) {
        const u = 1 + Math.floor(Math.random() * USERS);
        const ask = (name: string, text: string, value: unknown) =>
          client.query({ name, text: text.replace(/:(?:u|got)\b(?!:)|:u(?=::)/, "$1"), values: [value] });
        const { rows } = await ask(`${script}1`, first, u);
        await ask(`${script}2`, second, CHAINED.has(script) ? rows[0].got : u);
        pairs++;
      }
    }),
  );
  await Promise.all(connections.map((client) => client.end()));
  return pairs / SECONDS;
}

const median = (values: readonly number[]) => percentile(values, 0.5);

async function compareRates(owner: string, service: string): Promise<void> {
  for (const clients of [1, 8, 32]) {
    const rates: Record<Script, number[]> = { plain: [], grants: [], least: [], ledger: [] };
    for (let round = 0; round < ROUNDS; round++)
      for (const script of Object.keys(rates) as Script[])
        rates[script].push(await rate(script === "ledger" ? service : owner, script, clients));
    const plain = median(rates.plain);
    const ratio = (script: Script) => (median(rates[script]) / plain).toFixed(2);
    console.log(
      `${String(clients).padStart(2)} clients  two updates ${plain.toFixed(0)}/s  reserve+settle ${median(rates.ledger).toFixed(0)}/s  ratio ${ratio("ledger")} (target: at least 0.6; two updates of a grant ${ratio("grants")}, the least with holds ${ratio("least")}); of the least ${(median(rates.ledger) / median(rates.least)).toFixed(2)} (target: at least 0.8)`,
    );
  }
}

/** Events of one user. The daily totals are inserted separately. */
const EVENTS = `
  insert into billing.usage_events
    (user_id, model_id, source, input_tokens, output_tokens, total_tokens, charged_tokens, overdraft_tokens, is_priced, occurred_at)
  select $1, '${MODEL}', 'service', 1, 1, 2, 0, 2, false, now() - g * interval '3 seconds'
  from generate_series(1, $2::integer) g`;

async function balanceTimes(client: pg.Client, user: string): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 400; i++) {
    const started = performance.now();
    await client.query({ name: "b", text: "select * from private.token_balance_at($1)", values: [user] });
    times.push(performance.now() - started);
  }
  return median(times.slice(100));
}

async function compareBalances(client: pg.Client): Promise<void> {
  const user = `00000000-0000-7000-8000-${"1".padStart(12, "0")}`;
  const add = (count: number) => client.query(EVENTS, [user, count]);
  await add(10_000);
  await client.query(
    `insert into billing.daily_usage (user_id, model_id, day, requests, input_tokens, output_tokens, total_tokens)
     select $1, '${MODEL}', current_date - g, 100, 100, 100, 200 from generate_series(1, 365) g
     on conflict do nothing`,
    [user],
  );
  await client.query("analyze billing.usage_events");
  const few = await balanceTimes(client, user);
  let events = 10_000;
  for (
    const end = performance.now() + LOAD_MS;
    performance.now() < end && events < 10_000_000;
    events += 250_000
  )
    await add(250_000);
  await client.query("analyze billing.usage_events");
  const many = await balanceTimes(client, user);
  console.log(
    `balance  10 thousand events ${few.toFixed(2)} ms  ${(events / 1e6).toFixed(1)} million ${many.toFixed(2)} ms  ratio ${(many / few).toFixed(2)} (target: at most 1.5)`,
  );
}

const plinth = await startPlinth();
try {
  const [owner, service] = [await plinth.databaseUrl("owner"), await plinth.databaseUrl("service")];
  const client = new pg.Client(owner);
  await client.connect();
  await client.query(`
    insert into identity.users (id, username)
      select ('00000000-0000-7000-8000-' || lpad(g::text, 12, '0'))::uuid, 'bench' || g from generate_series(1, ${USERS}) g;
    insert into llm.model_providers (name) values ('bench');
    insert into llm.models (id, provider_id, name, display_name) select '${MODEL}', id, 'm', 'm' from llm.model_providers;
    insert into billing.model_prices (model_id, input_price_per_million_tokens, output_price_per_million_tokens) values ('${MODEL}', 1, 2);
    select private.grant_tokens(id, 1000000000000, 'manual', null, 1, null, null, 'g') from identity.users;
    ${TABLES}
    analyze billing.token_grants; analyze billing.usage_tracking;`);
  console.log(`clients: ${hasPgbench ? "pgbench" : "this process"}`);
  await compareRates(owner, service);
  await compareBalances(client);
  await client.end();
} finally {
  await plinth.stop();
}
