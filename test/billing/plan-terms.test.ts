import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { grantRole, registerUser } from "../support/accounts.ts";
import {
  createTestDatabase,
  expectSqlState,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
} from "../support/database.ts";

// The columns of billing.subscription_plans are the terms of a plan: a new column must be carried over by revise_plan
// and cannot be changed in place.

let db: TestDatabase;
let manager: string;
beforeAll(async () => {
  db = await createTestDatabase();
  manager = await registerUser(db, "manager");
  await grantRole(db, manager, "admin");
});
afterAll(async () => {
  await db.drop();
});

/** Columns that say which plan a row is, and those that describe the row. */
const NO_TERMS = [
  "id",
  "code",
  "billing_cycle",
  "currency",
  "version",
  "superseded_at",
  "created_at",
  "updated_at",
];
/** Columns that may also change in place. */
const FREE = ["plan_name", "is_active"];

type Plan = Readonly<Record<string, unknown>>;

/** A plan whose terms all differ from their defaults. */
async function addPlan(tx: Transaction): Promise<Plan> {
  const [{ plan }] = (await tx.rows<{ plan: Plan }>(
    `insert into billing.subscription_plans as p (
       code, plan_name, billing_cycle, price_cents, trial_days, token_quota, rollover_limit, features, access_level, is_active
     ) values ('gold', 'Gold', 'yearly', 900, 7, 1000, 500, '{"a": 1}', 3, false)
     returning to_jsonb(p) as plan`,
  )) as [{ plan: Plan }];
  return plan;
}

const termsOf = (plan: Plan) => Object.keys(plan).filter((column) => !NO_TERMS.includes(column));

test("the example differs from the default in every term, so that a forgotten one shows", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const plan = await addPlan(tx);
    const [{ plain }] = (await tx.rows<{ plain: Plan }>(
      `insert into billing.subscription_plans as p (code, plan_name, price_cents) values ('plain', 'Plain', 1)
       returning to_jsonb(p) as plain`,
    )) as [{ plain: Plan }];
    expect(termsOf(plan).length).toBeGreaterThan(6);
    expect(
      termsOf(plan).filter((term) => JSON.stringify(plan[term]) === JSON.stringify(plain[term])),
    ).toEqual([]);
  });
});

test("a revision carries every term over and may change each of them", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const plan = await addPlan(tx);
    await tx.asUser(manager);
    const revise = async (id: unknown, changes: object) =>
      (
        await tx.rows<{ plan: Plan }>("select to_jsonb(p) as plan from billing.revise_plan($1, $2) p", [
          id,
          changes,
        ])
      )[0]!.plan;
    let current = plan;
    for (const term of termsOf(plan)) {
      const revised = await revise(current.id, { [term]: plan[term] });
      for (const column of termsOf(plan)) expect([column, revised[column]]).toEqual([column, plan[column]]);
      current = revised;
    }
  });
});

test("no term can be changed in place, not even by the owner", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const plan = await addPlan(tx);
    const [{ other }] = (await tx.rows<{ other: Plan }>(
      "select to_jsonb(p) as other from billing.subscription_plans p where code = 'free'",
    )) as [{ other: Plan }];
    for (const term of termsOf(plan)) {
      const change = tx.attempt(
        `update billing.subscription_plans p set ${term} = f.${term}
         from billing.subscription_plans f where p.id = $1 and f.id = $2`,
        [plan.id, other.id],
      );
      if (FREE.includes(term)) await change;
      else await expectSqlState(change, "PL409");
    }
  });
});
