import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createTestDatabase, inRolledBackTransaction, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(async () => {
  await db.drop();
});

// Calculated by hand: unused seconds over seconds of the period, each line to the nearest cent, half a cent up.
const JAN = ["2026-01-01", "2026-02-01"] as const; // 31 days, 2 678 400 s
const FEB = ["2026-02-01", "2026-03-01"] as const; // 28 days
const LEAP = ["2028-02-01", "2028-03-01"] as const; // 29 days
const APR = ["2026-04-01", "2026-05-01"] as const; // 30 days
const YEAR = ["2026-01-01", "2027-01-01"] as const; // 365 days
const LEAP_YEAR = ["2028-01-01", "2029-01-01"] as const; // 366 days
const ROWS: [string, number, number, readonly [string, string], string, number, number][] = [
  ["half of April", 1000, 3000, APR, "2026-04-16", -500, 1500],
  ["the first moment", 1000, 3000, APR, "2026-04-01", -1000, 3000],
  ["the last second", 1000, 3000, APR, "2026-04-30 23:59:59", 0, 0],
  ["the end itself", 1000, 3000, APR, "2026-05-01", 0, 0],
  ["after the end", 1000, 3000, APR, "2026-05-02", 0, 0],
  ["before the start", 1000, 3000, APR, "2026-03-02", -1000, 3000],
  ["half of February (14 of 28 days)", 1000, 3000, FEB, "2026-02-15", -500, 1500],
  ["leap February, 15 of 29 days: 517.24, 1551.72", 1000, 3000, LEAP, "2028-02-15", -517, 1552],
  ["the leap day itself, 1 of 29: 34.48, 103.45", 1000, 3000, LEAP, "2028-02-29", -34, 103],
  ["10 of 31 days: 322.58, 967.74", 1000, 3000, JAN, "2026-01-22", -323, 968],
  ["a third of April: 333.33, 666.67", 1000, 2000, APR, "2026-04-21", -333, 667],
  ["half a cent goes up on both lines", 1, 3, APR, "2026-04-16", -1, 2],
  ["half a cent of an even cent goes up as well", 5, 9, APR, "2026-04-16", -3, 5],
  [
    "same price, 1 246 969 of 2 678 400 s: 930.66 both ways, nothing is owed",
    1999,
    1999,
    JAN,
    "2026-01-17 13:37:11",
    -931,
    931,
  ],
  ["a free plan before", 0, 3000, APR, "2026-04-11", 0, 2000],
  ["a free plan after", 3000, 0, APR, "2026-04-11", -2000, 0],
  ["a year, 73 of 365 days", 10000, 20000, YEAR, "2026-10-20", -2000, 4000],
  ["a leap year, 183 of 366 days", 10000, 20000, LEAP_YEAR, "2028-07-02", -5000, 10000],
  ["one second of a day's period", 86400, 172800, ["2026-06-01", "2026-06-02"], "2026-06-01 23:59:59", -1, 2],
  ["a period of no length", 1000, 3000, ["2026-06-01", "2026-06-01"], "2026-06-01", 0, 0],
  ["the largest price", 1_000_000_000, 999_999_999, YEAR, "2026-07-02 12:00:00", -500_000_000, 500_000_000],
];

describe("proration [A3]", () => {
  test.each(ROWS)("%s", async (_name, oldPrice, newPrice, [start, end], at, credit, charge) => {
    await inRolledBackTransaction(db, async (tx) => {
      // Zones with clock changes inside the periods: the rule uses only UTC.
      for (const zone of ["UTC", "America/New_York", "Pacific/Apia"]) {
        await tx.set("timezone", zone);
        const [row] = await tx.rows(
          "select credit_cents::integer as credit, charge_cents::integer as charge from private.proration($1, $2, $3, $4, $5)",
          [oldPrice, newPrice, `${start}Z`, `${end}Z`, `${at}Z`],
        );
        expect(row).toEqual({ credit, charge });
      }
    });
  });

  test("agrees with integer arithmetic for ten thousand random changes", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      await tx.rows("select setseed(0.42)");
      const rows = await tx.rows<Record<"old" | "new" | "whole" | "unused" | "credit" | "charge", string>>(
        `with r as materialized (
           select (random() * 1e6)::bigint as old, (random() * 1e6)::bigint as new,
             (1 + random() * 3e7)::bigint as whole, random() as part
           from generate_series(1, 10000)
         ), u as (select *, floor(whole * part)::bigint as unused from r)
         select u.old::text, u.new::text, u.whole::text, u.unused::text, p.credit_cents::text as credit, p.charge_cents::text as charge
         from u, lateral private.proration(old, new, to_timestamp(0), to_timestamp(whole), to_timestamp(whole - unused)) p`,
      );
      expect(rows).toHaveLength(10_000);
      const nearest = (price: bigint, unused: bigint, whole: bigint) =>
        (2n * price * unused + whole) / (2n * whole);
      for (const row of rows) {
        const [whole, unused] = [BigInt(row.whole), BigInt(row.unused)];
        expect(BigInt(row.charge)).toBe(nearest(BigInt(row.new), unused, whole));
        expect(-BigInt(row.credit)).toBe(nearest(BigInt(row.old), unused, whole));
      }
    });
  });
});

describe("periods [A3]", () => {
  const period = (cycle: string, anchor: string, at: string) =>
    inRolledBackTransaction(db, async (tx) => {
      const answers = new Set<string>();
      for (const zone of ["UTC", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati"]) {
        await tx.set("timezone", zone);
        const [row] = await tx.rows<{ text: string }>(
          `select to_char(period_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI') || ' ' ||
             coalesce(to_char(period_end at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), 'never') as text
           from private.subscription_period($1, $2, $3)`,
          [cycle, anchor, at],
        );
        answers.add(row!.text);
      }
      return [...answers];
    });
  test.each([
    ["monthly", "2026-01-31 10:00Z", "2026-02-28 09:59Z", "2026-01-31 10:00 2026-02-28 10:00"],
    ["monthly", "2026-01-31 10:00Z", "2026-02-28 10:00Z", "2026-02-28 10:00 2026-03-31 10:00"],
    ["monthly", "2026-01-31 10:00Z", "2026-03-31 10:00Z", "2026-03-31 10:00 2026-04-30 10:00"],
    ["monthly", "2028-01-31 00:00Z", "2028-02-29 12:00Z", "2028-02-29 00:00 2028-03-31 00:00"],
    ["monthly", "2028-01-30 00:00Z", "2028-02-29 00:00Z", "2028-02-29 00:00 2028-03-30 00:00"],
    ["monthly", "2027-01-29 00:00Z", "2027-03-01 00:00Z", "2027-02-28 00:00 2027-03-29 00:00"],
    ["monthly", "2025-12-31 23:30Z", "2026-01-01 00:00Z", "2025-12-31 23:30 2026-01-31 23:30"],
    ["monthly", "2026-03-08 07:30Z", "2026-11-01 07:30Z", "2026-10-08 07:30 2026-11-08 07:30"],
    ["monthly", "2026-06-15 00:00Z", "2026-06-01 00:00Z", "2026-05-15 00:00 2026-06-15 00:00"],
    ["yearly", "2028-02-29 00:00Z", "2029-02-28 00:00Z", "2029-02-28 00:00 2030-02-28 00:00"],
    ["yearly", "2028-02-29 00:00Z", "2032-02-29 00:00Z", "2032-02-29 00:00 2033-02-28 00:00"],
    ["yearly", "2028-02-29 00:00Z", "2029-02-27 23:59Z", "2028-02-29 00:00 2029-02-28 00:00"],
    ["lifetime", "2026-01-31 10:00Z", "2050-01-01 00:00Z", "2026-01-31 10:00 never"],
  ])("%s from %s, asked at %s", async (cycle, anchor, at, expected) => {
    expect(await period(cycle, anchor, at)).toEqual([expected]);
  });

  test("follow each other without gap or overlap for every anchor day over years with and without a leap day", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const bad = await tx.rows(
        `select from generate_series(timestamptz '2027-12-28 00:00Z', '2028-03-02 00:00Z', '23 hours') anchor
         cross join generate_series(1, 900) n
         cross join lateral (select anchor + n * interval '13 hours' as at) a
         cross join lateral private.subscription_period('monthly', anchor, at) p
         cross join lateral private.subscription_period('monthly', anchor, p.period_end) next
         where not (p.period_start <= at and at < p.period_end and next.period_start = p.period_end)`,
      );
      expect(bad).toEqual([]);
    });
  });
});
