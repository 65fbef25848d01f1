// The cost of access and search, as ratios within one run:
//   a page of 50 items with the access column to the page without, as a subscribed user under row security, in SQL and over
//   GraphQL; the page has items with prerequisites and permissions. Target: at most 1.3.
//   the first page of a search to a bare ranked full-text query on the same index. Target: at most 1.3.
// node bench/content.ts [--items 100000] [--users 100000], --items 1000000 --users 1000000 for the full size.
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import pg from "pg";
import { loadConfig } from "../src/config/config.ts";
import { openDatabase } from "../src/database/database.ts";
import { bringUpToDate } from "../src/start/up-to-date.ts";
import { PACKAGE_ROOT } from "../src/support/paths.ts";
import { graphql, percentile } from "./support.ts";

const { values } = parseArgs({
  options: {
    items: { type: "string", default: "100000" },
    users: { type: "string", default: "100000" },
    rounds: { type: "string", default: "60" },
    explain: { type: "boolean", default: false },
  },
});
const ITEMS = Number(values.items);
const USERS = Number(values.users);
const ROUNDS = Number(values.rounds);

const WORDS =
  "attention model data vector matrix gradient training network token prompt retrieval agent evaluation bias privacy speech image label loss layer feature sample cluster tree forest kernel encoder decoder latent noise".split(
    " ",
  );

const FILL = `
  alter table identity.users disable trigger user;
  alter table learning.content_items disable trigger user;
  alter table learning.content_versions disable trigger user;
  alter table learning.content_prerequisites disable trigger user;
  alter table learning.user_content_permissions disable trigger user;
  alter table learning.content_items drop constraint content_items_current_version_fkey;
  drop index learning.content_items_search_document_idx, learning.content_items_title_trigram_idx, learning.content_items_tags_idx;
  insert into identity.users (username) select 'bench' || i from generate_series(1, ${USERS}) i;
  insert into learning.content_categories (slug, name) select 'c' || i, 'C' || i from generate_series(1, 50) i;
  create temporary table w as select word, row_number() over () - 1 as n
    from unnest('{${WORDS.join(",")}}'::text[]) word;
  insert into learning.content_items (
    category_id, slug, content_type, title, summary, level, duration_seconds, tags, required_access_level,
    effective_access_level, current_version, publish_from, available_from
  )
  select
    (select array_agg(id order by id) from learning.content_categories)[1 + i % 50],
    'i' || i, (array['lesson', 'article', 'video'])[1 + i % 3],
    -- Every hundredth item contains this word; the other words are spread.
    case when i % 100 = 0 then 'quantum ' else '' end || coalesce(a.words || ' ', '') || i,
    'About ' || coalesce(b.words, ''), i % 10, 60 + i % 3000, array['t' || i % 100, 't' || i % 7], i % 4, i % 4, 1, now() - i * interval '1 s',
    now() - i * interval '1 s'
  from generate_series(1, ${ITEMS}) i
  cross join lateral (select string_agg(word, ' ') as words from w where hashint4((n * 1000003 + i)::integer) % 6 = 0) a
  cross join lateral (select string_agg(word, ' ') as words from w where hashint4((n * 700001 + i)::integer) % 5 = 0) b;
  insert into learning.content_versions (item_id, version, published_at) select id, 1, now() from learning.content_items;
  insert into learning.content_prerequisites (item_id, required_item_id)
    select id, lag(id, 3) over (order by available_from) from learning.content_items where level = 3 offset 3;
  insert into learning.user_content_permissions (user_id, item_id, permission)
    select (select id from identity.users where username = 'reader'), id, case level when 1 then 'deny' else 'allow' end
    from learning.content_items order by available_from desc limit 40;
  alter table learning.content_items add constraint content_items_current_version_fkey
    foreign key (id, current_version) references learning.content_versions (item_id, version) on delete restrict;
  create index content_items_search_document_idx on learning.content_items using gin (search_document);
  create index content_items_title_trigram_idx on learning.content_items using gin (title plinth.gin_trgm_ops);
  create index content_items_tags_idx on learning.content_items using gin (tags);
  alter table identity.users enable trigger user;
  alter table learning.content_items enable trigger user;
  alter table learning.content_versions enable trigger user;
  alter table learning.content_prerequisites enable trigger user;
  alter table learning.user_content_permissions enable trigger user;
  insert into billing.subscription_plans (code, plan_name, price_cents, access_level) values ('bench', 'Bench', 100, 2);
  select private.start_subscription(
    (select id from identity.users where username = 'reader'),
    (select id from billing.subscription_plans where code = 'bench'), false, now()
  );`;

const COLUMNS = "i.id, i.title, i.summary, i.level, i.duration_seconds, i.language, i.tags, i.rating_average";
const PAGES = {
  newest: "select i.* from learning.content_items i order by i.available_from desc, i.id limit 50",
  "of a category":
    "select i.* from learning.content_items i where i.category_id = (select id from learning.content_categories where slug = 'c7') order by i.available_from desc limit 50",
};
const pageSql = (page: string, access: boolean) =>
  access
    ? `select ${COLUMNS}, a.has_access, a.reason from (${page}) i left join learning.my_content_access a on a.content_id = i.id`
    : `select ${COLUMNS} from (${page}) i`;

const data = mkdtempSync(join(tmpdir(), "plinth-bench-"));
chmodSync(data, 0o711);
const config = loadConfig({ PLINTH_DATA: data });
const database = await openDatabase(config);
let server: ChildProcess | undefined;

/** Starts the API on the same data in its own process. */
async function serve(): Promise<{ child: ChildProcess; url: string }> {
  const port = 20_000 + (process.pid % 20_000);
  const child = spawn(process.execPath, [join(PACKAGE_ROOT, "src/cli/plinth.js"), "serve"], {
    env: {
      ...process.env,
      PLINTH_DATA: data,
      PLINTH_PORT: String(port),
      PLINTH_LOG_LEVEL: "error",
      PLINTH_TRUSTED_PROXIES: "127.0.0.1",
    },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const url = `http://127.0.0.1:${port}`;
  while (child.exitCode === null) {
    if ((await fetch(`${url}/readyz`).catch(() => null))?.status === 200) return { child, url };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`plinth exited with ${child.exitCode}`);
}

/** Returns the median times. The two alternate, so that both run under the same load. */
async function compare(
  one: () => Promise<unknown>,
  other: () => Promise<unknown>,
): Promise<[number, number]> {
  const times: [number[], number[]] = [[], []];
  for (let round = -5; round < ROUNDS; round++)
    for (const [index, run] of [one, other].entries()) {
      const started = performance.now();
      await run();
      if (round >= 0) times[index]!.push(performance.now() - started);
    }
  return [percentile(times[0], 0.5), percentile(times[1], 0.5)];
}

function report(name: string, [cost, base]: [number, number]): void {
  console.log(
    `${name.padEnd(44)} ${cost.toFixed(2)} ms against ${base.toFixed(2)} ms  ratio ${(cost / base).toFixed(2)}`,
  );
}

try {
  await bringUpToDate(config, database);
  const owner = new pg.Client(database.url("owner"));
  owner.on("error", () => {}); // the server stops while it is connected if something below fails
  await owner.connect();
  const served = await serve();
  server = served.child;
  const { register } = (await graphql(
    served.url,
    'mutation { register(input: { username: "reader", email: "reader@example.com", password: "a sentence nobody guesses" }) { accessToken } }',
  )) as { register: { accessToken: string } };
  const started = performance.now();
  await owner.query(FILL);
  await owner.query("vacuum analyze learning.content_items");
  await owner.query("vacuum analyze identity.users");
  await owner.query("analyze");
  console.log(`${ITEMS} items and ${USERS} users in ${((performance.now() - started) / 1000).toFixed(0)} s`);
  const { rows } = await owner.query<{ id: string }>(
    "select id from identity.users where username = 'reader'",
  );

  const user = new pg.Client(database.url("authenticator"));
  user.on("error", () => {});
  await user.connect();
  await user.query(
    "select set_config('role', 'plinth_user', false), set_config('jwt.claims.user_id', $1, false)",
    [rows[0]!.id],
  );
  const run =
    (name: string, text: string, params: unknown[] = []) =>
    () =>
      user.query({ name, text, values: params });

  for (const [name, page] of Object.entries(PAGES)) {
    const [withAccess, without] = [pageSql(page, true), pageSql(page, false)];
    const { rows: reasons } = await user.query(
      `select reason, count(*)::integer as n from (${withAccess}) p group by 1 order by 1`,
    );
    console.log(`  ${reasons.map(({ reason, n }) => `${n} ${reason}`).join(", ")}`);
    if (values.explain)
      for (const row of (await user.query(`explain (analyze, buffers) ${withAccess}`)).rows)
        console.log(row["QUERY PLAN"]);
    report(`page ${name}, in SQL`, await compare(run(`a ${name}`, withAccess), run(`b ${name}`, without)));
  }

  const fields = "id title summary level durationSeconds language tags ratingAverage";
  const page = (access: string) => () =>
    graphql(
      served.url,
      `{ contentItems(first: 50, orderBy: AVAILABLE_FROM_DESC) { nodes { ${fields} ${access} } } }`,
      {},
      register.accessToken,
    );
  report("page newest, over GraphQL", await compare(page("access { hasAccess reason }"), page("")));

  for (const [what, query] of [
    ["a word in 1 of 100 items", "quantum"],
    ["a word in 1 of 5", "gradient"],
    ["two words", "quantum gradient"],
  ] as const) {
    const bare = `select id, title, ts_rank(search_document, websearch_to_tsquery('english', $1)) as rank
      from learning.content_items where search_document @@ websearch_to_tsquery('english', $1) order by rank desc, id limit 20`;
    const whole =
      "select (item).id, (item).title, rank, title_html, summary_html from learning.search_content($1, 'en')";
    report(
      `search for ${what}`,
      await compare(run("search", whole, [query]), () =>
        owner.query({ name: "bare", text: bare, values: [query] }),
      ),
    );
    report(
      `search for ${what}, in all languages`,
      await compare(run("search all", whole.replace(", 'en'", ""), [query]), () =>
        owner.query({ name: "bare", text: bare, values: [query] }),
      ),
    );
  }
  const fuzzy = await compare(
    run("fuzzy", "select rank from learning.search_content($1, 'en')", ["gradeint trianing"]),
    run("facets", "select * from learning.content_search_facets($1, 'en')", ["quantum"]),
  );
  console.log(`typing errors ${fuzzy[0].toFixed(0)} ms, facets of 1 of 100 items ${fuzzy[1].toFixed(0)} ms`);
  await user.end();
  await owner.end();
} finally {
  if (server && server.exitCode === null) {
    const exited = new Promise((resolve) => server?.once("exit", resolve));
    server.kill("SIGTERM");
    await exited;
  }
  await database.close();
  rmSync(data, { recursive: true, force: true });
}
