import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
const asOwner = rowsAs("owner", () => db);
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

test("counts after any watermark exactly, up to ten million and across every block [S7]", async () => {
  const [room] = await asOwner<{ id: string }>(
    "insert into rooms.chat_rooms (creator_id, name) values (null, 'x') returning id",
  );
  await asOwner(`create table public.counted as
     select distinct on (n) n from (
       -- Around the edges of blocks of all levels, and anywhere.
       select greatest(1, edge * (64 ^ level)::bigint + step) as n
       from generate_series(1, 3) edge, generate_series(1, 3) level, generate_series(-2, 2) step
       union all
       select (random() * 10000000)::bigint + 1 from generate_series(1, 600)
     ) numbers`);
  await asOwner("select private.count_in_room($1, 'uncounted', null, null, n, 1) from public.counted", [
    room!.id,
  ]);
  expect(
    await asOwner(
      `select w, private.uncounted_in_room_after($1, w) as tallied, counted
       from (select n + step as w from public.counted, generate_series(-1, 1) step where n % 7 = 0 or n < 800000) marks,
         lateral (select count(*) as counted from public.counted c where c.n > w) brute
       where w >= 0 and private.uncounted_in_room_after($1, w) <> counted`,
      [room!.id],
    ),
  ).toEqual([]);
  // After removing the counts nothing is left.
  await asOwner("select private.count_in_room($1, 'uncounted', null, null, n, -1) from public.counted", [
    room!.id,
  ]);
  expect(await asOwner("select private.uncounted_in_room_after($1, 0)::integer as n", [room!.id])).toEqual([
    { n: 0 },
  ]);
});
