import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { addModel } from "../support/accounts.ts";
import {
  createTestDatabase,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
} from "../support/database.ts";

let db: TestDatabase;
let model: string;
beforeAll(async () => {
  db = await createTestDatabase();
  model = await addModel(db, { isPublic: true });
});
afterAll(async () => {
  await db.drop();
});

const price = (tx: Transaction, input: string, from: string | null, to: string | null) =>
  tx.attempt(
    `insert into billing.model_prices (model_id, input_price_per_million_tokens, output_price_per_million_tokens, effective_from, effective_to)
     values ($1, $2, 1, $3, $4)`,
    [model, input, from, to],
  );

test("keeps one price of a model for any moment and returns that of the moment asked for [R3]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    await price(tx, "0.075", null, "2026-01-01");
    await price(tx, "3", "2026-01-01", null);
    await expect(price(tx, "4", "2027-01-01", null)).rejects.toMatchObject({
      constraint: "model_prices_periods_do_not_overlap",
    });
    await tx.asAnonymous();
    const at = (time: string) =>
      tx.rows("select (llm.models_price(m, $1)).input_price_per_million_tokens as price from llm.models m", [
        time,
      ]);
    expect(await at("2025-12-31T23:59:59Z")).toEqual([{ price: "0.075000" }]);
    expect(await at("2026-01-01T00:00:00Z")).toEqual([{ price: "3.000000" }]);
    expect(
      await tx.rows("select input_price_per_million_tokens as price from billing.current_model_prices"),
    ).toEqual([{ price: "3.000000" }]);
  });
});

test.each([
  ["-1", null, null, "model_prices_input_price_is_not_negative"],
  ["NaN", null, null, "model_prices_input_price_is_not_negative"],
  ["1", "2026-02-01", "2026-01-01", "model_prices_effective_from_before_effective_to"],
  ["1", "2026-01-01", "2026-01-01", "model_prices_effective_from_before_effective_to"],
])("rejects %s from %s to %s", async (input, from, to, constraint) => {
  await inRolledBackTransaction(db, async (tx) => {
    await expect(price(tx, input, from, to)).rejects.toMatchObject(
      constraint ? { constraint } : { code: "22000" },
    );
  });
});

const imported = (tx: Transaction, models: unknown[]) =>
  tx.rows<{ outcome: string }>("select outcome from private.import_models($1) order by ordinal", [
    JSON.stringify(models),
  ]);

test("imports each model completely or not at all, independently of the others", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const good = {
      vendor: "v",
      id: "good",
      name: "Good",
      priceHistory: [{ input: 1, output: 2, inputCached: null, from: null, to: null }],
    };
    const bad = [
      { ...good, id: "nan", priceHistory: [{ input: "NaN", output: 1 }] },
      { ...good, id: "no history", priceHistory: undefined },
      { ...good, id: "object", priceHistory: {} },
      { ...good, id: "zone", priceHistory: [{ input: 1, output: 1, from: "2026-01-01 Mars/Olympus" }] },
      { ...good, id: "huge", priceHistory: [{ input: 1e30, output: 1 }] },
      {
        ...good,
        id: "overlap",
        priceHistory: [
          { input: 1, output: 1 },
          { input: 2, output: 1 },
        ],
      },
      { ...good, id: null },
    ];
    expect((await imported(tx, [...bad, good])).map((row) => row.outcome)).toEqual([
      ...bad.map(() => "rejected"),
      "inserted",
    ]);
    expect(
      await tx.rows(
        "select m.name from llm.models m join llm.model_providers p on p.id = m.provider_id where p.name = 'v'",
      ),
    ).toEqual([{ name: "good" }]);
    expect(await imported(tx, [good])).toEqual([{ outcome: "unchanged" }]);
    expect(await imported(tx, [{ ...good, name: "Better" }])).toEqual([{ outcome: "updated" }]);
  });
});
