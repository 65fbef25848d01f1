import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { withIds } from "../support/access-probes/ids.ts";
import { seedActors } from "../support/access-seed.ts";
import { type Api, startApi } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase, withClient } from "../support/database.ts";
import { argumentsOf, type Input } from "../support/denials/arguments.ts";
import { type Caller, makeCaller, type Outcome } from "../support/denials/caller.ts";
import { copiesOf } from "../support/denials/copies.ts";
import { makeDry } from "../support/denials/dry-run.ts";
import { type Mutation, type Surroundings, studyMutation } from "../support/denials/mutations.ts";
import type { Candidate, Place } from "../support/denials/places.ts";
import { openReader } from "../support/denials/reader.ts";
import { readRows } from "../support/denials/rows.ts";
import { readValues } from "../support/denials/values.ts";
import { errorEntries } from "../support/error-page.ts";
import { readSurface } from "../support/generated-fields.ts";
import { hashesOfTables } from "../support/whole-database.ts";
import {
  leakyFunctions,
  MAY_CHANGE_NOTHING,
  MORE_ROWS,
  OPEN_TO_VISITORS,
  OPTIONS,
  REFERS_TO,
  REVEALED,
  SEEN_BY_ALL,
  WITHOUT_SUCCESS,
} from "./denial-inputs.ts";

// Every mutation of the schema, called by users who may not do it, and for rows that do not exist, that the caller does not see,
// and that the caller sees. No call commits a change, so that each one starts from the same rows. Two functions with the faults
// that the walk looks for prove that it finds them.

/** Tables that a denied request may write: they count requests and log faults. */
const COUNTERS = ["security.rate_limit_records", "security.error_logs"];
/** ada and bob own one row of everything; guest has no row and no permission. */
const OTHERS = ["visitor", "ada", "bob", "guest"];

let db: TestDatabase;
let api: Api;
let caller: Caller;
let around: Surroundings;
let mutations: readonly Mutation[];
let before: ReadonlyMap<string, string>;
/** Mutations that have succeeded without a change. */
const silent = new Set<string>();

beforeAll(async () => {
  db = await createTestDatabase();
  const owner = rowsAs("owner", () => db);
  await owner("insert into identity.users (username) values ('guest')");
  const actors = await seedActors(db);
  await withClient(db.url("owner"), (client) =>
    client.query(withIds(MORE_ROWS + leakyFunctions(db.rolePrefix))),
  );
  await owner("update identity.user_sessions set authentication_methods = '{pwd,mfa}'");
  const { schema, generated } = await readSurface(db);
  await makeDry(db, COUNTERS);
  before = await hashesOfTables(db);
  api = await startApi(db, {}, { canSendSms: true });
  caller = makeCaller(api, schema, actors);
  const reader = await openReader(db, actors);
  around = {
    reader,
    schema,
    generated: new Map(generated.map((field) => [field.name, field])),
    rows: await readRows(reader, actors.keys()),
    values: await readValues(reader),
    caller,
    hints: { refersTo: REFERS_TO, options: OPTIONS },
  };
  const studied: Mutation[] = [];
  for (const name of Object.keys(schema.getMutationType()!.getFields()))
    studied.push(await studyMutation(name, around));
  mutations = studied;
});
afterAll(async () => {
  jest.restoreAllMocks();
  await around.reader.close();
  await api.close();
  await db.drop();
});

test("each mutation would change something for some user, so that its denials are due to the caller or the row", () => {
  const without = mutations.filter(({ base }) => base.outcome.kind !== "allowed").map(({ name }) => name);
  expect(without.sort()).toEqual(Object.keys(WITHOUT_SUCCESS).sort());
});

test("no mutation ends in an unforeseen error", () => {
  const broken = mutations.flatMap(({ name, attempts }) =>
    attempts.filter(({ outcome }) => outcome.kind === "broken").map(({ input }) => [name, input]),
  );
  expect(broken).toEqual([]);
});

test("visitors are asked to sign in by every mutation that is not part of signing in", async () => {
  const open: string[] = [];
  for (const { name, base } of mutations) {
    const { kind, code } = await caller.call(name, "visitor", base.input);
    if (kind !== "denied" || code !== "UNAUTHENTICATED") open.push(name);
  }
  expect(open.sort()).toEqual([...OPEN_TO_VISITORS].sort());
});

test("a denial has a registered code and no data", async () => {
  const codes = new Set(errorEntries().flatMap((entry) => entry.codes));
  const wrong: unknown[] = [];
  const check = (name: string, actor: string, input: Input, outcome: Outcome) => {
    if (outcome.kind === "silent") silent.add(name);
    const isTyped =
      codes.has(outcome.code!) && (outcome.data === undefined || isEqual(outcome.data, { done: null }));
    if (outcome.kind === "broken" || (outcome.kind === "denied" && !isTyped))
      wrong.push([name, actor, input, outcome]);
  };
  for (const { name, places, base } of mutations)
    for (const actor of OTHERS.filter((other) => other !== base.actor)) {
      check(name, actor, base.input, await caller.call(name, actor, base.input));
      for (const place of places)
        for (const { key } of place.candidates.filter(({ knownTo }) => knownTo(actor)).slice(0, 1)) {
          const input = place.put(base.input, key);
          check(name, actor, input, await caller.call(name, actor, input));
        }
    }
  expect(wrong).toEqual([]);
});

test("a row that does not exist and one that the caller may not see get the same answer in as many round trips", async () => {
  const revealed = new Set<string>();
  const different = new Map<string, unknown>();
  for (const { name, places, attempts, base } of mutations)
    for (const { actor, input } of [
      ...attempts.slice(-2),
      ...OTHERS.map((other) => ({ ...base, actor: other })),
    ])
      for (const place of places) {
        const hidden = few(place.candidates.filter(({ knownTo }) => !knownTo(actor)));
        if (hidden.length === 0) continue;
        const where = `${name}.${place.name}`;
        const missing = await answerFor(name, actor, input, place, place.absent);
        for (const { key } of hidden) {
          const answer = await answerFor(name, actor, input, place, key);
          if ([missing, answer].some(({ kind }) => kind === "silent")) silent.add(name);
          if (isEqual(answer, missing)) continue;
          if (where in REVEALED && answer.kind === "allowed") revealed.add(where);
          else different.set(where, [actor, input, missing, answer]);
        }
      }
  expect(different.delete("revealChat.chatId")).toBe(true);
  expect([...different]).toEqual([]);
  expect([...revealed].sort()).toEqual(Object.keys(REVEALED).sort());
});

test("a copy of a row is a conflict only for callers who see the row", async () => {
  const { reader, schema, generated } = around;
  const told = new Set<string>();
  const revealed: unknown[] = [];
  for (const { name, base } of mutations) {
    const source = generated.get(name);
    if (source?.kind !== "create") continue;
    const args = argumentsOf(schema.getMutationType()!.getFields()[name]!);
    const people = [...new Set([base.actor, "bob", "guest"])];
    const copies = await copiesOf(source, args, reader, people);
    for (const actor of people) {
      const known = copies.filter(({ knownTo }) => knownTo(actor)).map(({ input }) => input);
      // A hidden row may have the same values as one of the caller's own.
      const hidden = copies.filter(
        ({ input, knownTo }) => !knownTo(actor) && !known.some((other) => isEqual(other, input)),
      );
      for (const input of known.slice(0, 2))
        if ((await caller.call(name, actor, input)).code === "CONFLICT") told.add(name);
      for (const { input } of hidden.slice(0, 4)) {
        const { code, text } = await caller.call(name, actor, input);
        if (code === "CONFLICT") revealed.push([name, actor, input, text]);
      }
    }
  }
  expect(told.size).toBeGreaterThan(15);
  expect(revealed).toEqual([]);
});

test("no mutation has succeeded and changed nothing, but those for which this is right", () => {
  expect(silent.delete("ignoreChat")).toBe(true);
  expect([...silent].sort()).toEqual(Object.keys(MAY_CHANGE_NOTHING).sort());
});

test("each place of an input that names a row is tried with a hidden one, unless every user sees all of them", () => {
  const untried = mutations.flatMap(({ places }) =>
    places.filter(({ candidates }) => candidates.every(({ knownTo }) => knownTo("guest"))),
  );
  const tables = new Set(untried.map(({ candidates }) => candidates[0]?.table));
  expect([...tables].sort()).toEqual([...SEEN_BY_ALL].sort());
});

test("nothing in the database has changed", async () => {
  const after = await hashesOfTables(db);
  const changed = [...after].filter(([table, hash]) => hash !== before.get(table)).map(([table]) => table);
  expect(changed.filter((table) => !COUNTERS.some((counter) => table.startsWith(counter)))).toEqual([]);
});

/** The answer to a call with this key in this place, without the key. */
async function answerFor(name: string, actor: string, input: Input, place: Place, key: unknown) {
  const { kind, text, status, statements } = await caller.call(name, actor, place.put(input, key));
  const sent = (typeof key === "string" ? [key] : Object.values(key as object)).filter(isUuid);
  return { kind, text: sent.reduce((rest, id) => rest.replaceAll(id, "<id>"), text), status, statements };
}

/** At most two candidates, of different tables if possible. */
function few(candidates: readonly Candidate[]): readonly Candidate[] {
  const ofOther = candidates.find(({ table }) => table !== candidates[0]!.table) ?? candidates[1];
  return ofOther ? [candidates[0]!, ofOther] : candidates;
}

const isUuid = (value: unknown): value is string => typeof value === "string" && value.length === 36;
const isEqual = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
