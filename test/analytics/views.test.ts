import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createTestDatabase, inRolledBackTransaction, type TestDatabase } from "../support/database.ts";
import { makeRandom, SEED } from "../support/random.ts";
import { SEED_OF_VIEWS } from "./seed.ts";
import { SPECIFICATIONS } from "./specifications/index.ts";

// Each view of analytics, found in the catalogue, has its declared grain, values and comments, and the figures of a direct query on
// random rows. PLINTH_SEED repeats a run.

interface View {
  readonly name: string;
  readonly comment: string | null;
  readonly columns: readonly { name: string; comment: string | null }[];
  /** Stored, or a view over stored totals. */
  readonly isKept: boolean;
}

/** The views of kept totals without refreshed_at, each with the reason. */
const WITHOUT_REFRESHED_AT: Readonly<Record<string, string>> = {
  daily_sign_ins: "Current: it reads the log for days that are not summed yet.",
};

const VIEWS = `
  select c.relname as name, obj_description(c.oid) as comment,
    (select jsonb_agg(jsonb_build_object('name', a.attname, 'comment', col_description(c.oid, a.attnum)) order by a.attnum)
     from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
    c.relkind = 'm' or exists (
      select from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
      where r.ev_class = c.oid and d.refobjid = 'private.roll_up_state'::regclass
    ) as "isKept"
  from pg_class c
  where c.relnamespace = 'analytics'::regnamespace and c.relkind in ('v', 'm')
  order by 1`;

const quoted = (columns: readonly string[]) => columns.map((column) => `x."${column}"`).join(", ");

let db: TestDatabase;
let views: readonly View[];
/** By view: rows whose grain occurs twice, nulls, unexpected values, and rows that only the view or only the brute force has. */
const found = new Map<string, Record<string, unknown>>();

beforeAll(async () => {
  db = await createTestDatabase();
  await inRolledBackTransaction(db, async ({ client, rows, asWorker, asOwner }) => {
    views = await rows<View>(VIEWS);
    await rows("select setseed($1)", [makeRandom(SEED)(2_000) / 1_000 - 1]);
    await client.query(SEED_OF_VIEWS);
    await asWorker();
    await rows("select private.find_days_to_roll_up()");
    while ((await rows<{ day: unknown }>("select private.roll_up_day() as day"))[0]!.day !== null);
    await asOwner();
    await client.query("refresh materialized view analytics.content_popularity");
    await client.query("refresh materialized view analytics.subscription_metrics");
    // Brute force joins whatever it likes.
    await client.query("analyze");
    for (const view of views) {
      const specification = SPECIFICATIONS[view.name];
      if (specification) found.set(view.name, await faultsOf(view, specification, rows));
    }
  });
});
afterAll(() => db.drop());

async function faultsOf(
  { name, columns }: View,
  { grain, nullable = [], values = {}, bruteForce, notCompared = {} }: (typeof SPECIFICATIONS)[string],
  rows: (sql: string) => Promise<object[]>,
): Promise<Record<string, unknown>> {
  const names = columns.map((column) => column.name);
  const compared = quoted(names.filter((column) => !(column in notCompared) && column !== "refreshed_at"));
  const required = names.filter((column) => !nullable.includes(column));
  const [result] = await rows(`
    with own as materialized (select * from analytics.${name}), expected as materialized (${bruteForce})
    select (select count(*)::integer from own) as rows, (select count(*)::integer from expected) as expected,
      (select count(*)::integer from (select ${quoted(grain)} from own x group by ${quoted(grain)} having count(*) > 1) g) as repeated,
      (select jsonb_agg(x) from own x where num_nulls(${quoted(required)}) > 0) as "withNulls",
      array(${Object.entries(values)
        .map(
          ([column, allowed]) =>
            `select x."${column}"::text from own x where x."${column}" <> all (array['${allowed.join("', '")}'])`,
        )
        .concat("select null::text where false")
        .join(" union all ")}) as unexpected,
      (select jsonb_agg(x) from (select ${compared} from own x except all select ${compared} from expected x limit 3) x) as "onlyView",
      (select jsonb_agg(x) from (select ${compared} from expected x except all select ${compared} from own x limit 3) x) as "onlyBruteForce"`);
  return result as Record<string, unknown>;
}

test("a specification exists for every view, and for no other", () => {
  expect(Object.keys(SPECIFICATIONS).sort()).toEqual(views.map(({ name }) => name));
});

describe.each(Object.entries(SPECIFICATIONS))(`%s (PLINTH_SEED=${SEED})`, (name, { grain }) => {
  const view = () => views.find((candidate) => candidate.name === name)!;

  test("has a comment with its grain, and one on each column", () => {
    expect(view().comment).toMatch(/Grain: one row per /);
    expect(view().columns.filter(({ comment }) => !comment)).toEqual([]);
  });

  test("shows its last refresh, if it is kept [A7]", () => {
    const shows = view().columns.some((column) => column.name === "refreshed_at");
    expect(shows).toBe(view().isKept && !(name in WITHOUT_REFRESHED_AT));
  });

  test(`has one row per ${grain.join(", ")}, no unexpected null or value, and the figures of the tables`, () => {
    const { rows, ...faults } = found.get(name)!;
    expect(rows).toBeGreaterThan(0);
    expect(faults).toEqual({
      expected: rows,
      repeated: 0,
      withNulls: null,
      unexpected: [],
      onlyView: null,
      onlyBruteForce: null,
    });
  });
});
