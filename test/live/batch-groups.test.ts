import { expect, test } from "@jest/globals";
import { BatchGroups } from "../../src/live/batch-groups.ts";
import type { SharedAnswer } from "../../src/live/live-source.ts";
import { watchContext } from "../../src/live/personal-context.ts";
import type { SharedReads } from "../../src/live/shared-reads.ts";
import type { Statement, TransactionSettings } from "../../src/request/transaction.ts";

const STATEMENT = { name: "events", text: "select …", values: ["room", "5"] };
const settingsOf = (user: string) => ({ role: "plinth_user", "jwt.claims.user_id": user });
const ANSWER: SharedAnswer = { result: { data: { n: 1 } }, reading: { isEmpty: false } };

/** A database in which `rowsOf` returns each user's rows; a user for whom it throws stops those behind. */
function makeReads(rowsOf: (user: string, statement: Statement) => string[][]) {
  const asked: Statement[] = [];
  /** The statements of `asked` that have already been sent. */
  const flushed: Statement[] = [];
  const rowsFor = (settings: TransactionSettings, statement: Statement) =>
    rowsOf(settings["jwt.claims.user_id"]!, statement);
  const reads = {
    async read(settings: TransactionSettings, statement: Statement) {
      asked.push(statement);
      const raw = rowsFor(settings, statement);
      return { rows: raw, rowCount: raw.length, notices: [], raw };
    },
    async try(all: readonly TransactionSettings[], statement: Statement) {
      const answers: string[][][] = [];
      try {
        for (const settings of all) answers.push(rowsFor(settings, statement));
      } catch {
        // Like the server, which skips the rest.
      }
      return answers;
    },
    flush: () => void flushed.push(...asked.slice(flushed.length)),
  };
  return { reads: reads as unknown as SharedReads, asked, flushed };
}

function joinAll(reads: SharedReads, users: readonly string[], isSharing = true) {
  const groups = new BatchGroups(reads, { isSharing });
  const members = users.map((user) => groups.join({ operation: "op", settings: settingsOf(user) }));
  return { groups, members };
}

/** All members take part in a batch, and the first executes these statements. @returns which members got its answer */
async function takeBatch(
  members: ReturnType<typeof joinAll>["members"],
  statements: readonly Statement[] = [STATEMENT],
  after = "5",
) {
  const batches = members.map((member) => member.takeBatch(after));
  expect(await batches[0]).toBeUndefined();
  for (const statement of statements) await members[0]!.read(statement).catch(() => {});
  members[0]!.settle(ANSWER);
  const answers = await Promise.all(batches);
  return answers.map((answer) => answer === ANSWER);
}

test("shares an answer with members for whom every statement returns the same rows", async () => {
  const second = { name: "more", text: "select more" };
  const { reads } = makeReads((user, { name }) =>
    name === "more" && user === "eve" ? [["1"], ["2"]] : user === "joe" ? [] : [["1"]],
  );
  const { members } = joinAll(reads, ["ada", "bob", "eve", "joe", "sue"]);
  expect(await takeBatch(members)).toEqual([false, true, true, false, true]);
  expect(await takeBatch(members, [STATEMENT, second])).toEqual([false, true, false, false, true]);
});

test("without sharing, every member reads once for itself", async () => {
  const read: string[] = [];
  const { reads } = makeReads((user) => {
    read.push(user);
    return [["1"]];
  });
  const users = ["ada", "bob", "eve"];
  const { members } = joinAll(reads, users, false);
  const taken = await Promise.all(members.map((member) => member.takeBatch("5")));
  expect(taken).toEqual([undefined, undefined, undefined]);
  for (const member of members) {
    await member.read(STATEMENT);
    member.settle(ANSWER);
  }
  expect(read).toEqual(users);
});

test("distinguishes null from an empty string and compares rows in order", async () => {
  for (const rows of [
    [["", "b"]],
    [["a", ""]],
    [["b", "a"]],
    [["a"]],
    [
      ["a", "b"],
      ["a", "b"],
    ],
  ]) {
    const { reads } = makeReads((user) => (user === "ada" ? [[null as never, "b"]] : rows));
    expect(await takeBatch(joinAll(reads, ["ada", "bob"]).members)).toEqual([false, false]);
  }
});

test("lets members behind a failing one, or without any statement, execute the operation themselves", async () => {
  const { reads } = makeReads((user) => {
    if (user === "eve") throw new Error("no luck");
    return [["1"]];
  });
  expect(await takeBatch(joinAll(reads, ["ada", "bob", "eve", "joe"]).members)).toEqual([
    false,
    true,
    false,
    false,
  ]);
  expect(await takeBatch(joinAll(reads, ["eve", "ada"]).members)).toEqual([false, false]);
  expect(await takeBatch(joinAll(reads, ["ada", "bob"]).members, [])).toEqual([false, false]);
});

test("gives members with another cursor or operation, or that join later, their own batch", async () => {
  const { reads } = makeReads(() => [["1"]]);
  const { groups, members } = joinAll(reads, ["ada", "bob", "eve"]);
  const other = groups.join({ operation: "another", settings: settingsOf("joe") });
  const anonymous = groups.join({ operation: "op", settings: { role: "plinth_anonymous" } });
  const [ada, bob, eve] = members as [(typeof members)[0], (typeof members)[0], (typeof members)[0]];
  const batches = [ada.takeBatch("5"), eve.takeBatch("4"), other.takeBatch("5"), anonymous.takeBatch("5")];
  expect(await Promise.all(batches)).toEqual([undefined, undefined, undefined, undefined]);
  expect(await bob.takeBatch("5")).toBeUndefined();
  expect(groups.size).toBe(3);
  for (const member of [...members, other, anonymous]) {
    member.leave();
    member.leave();
  }
  expect(groups.size).toBe(0);
});

test("lets waiting members execute the operation themselves when the leader leaves or fails", async () => {
  const { reads } = makeReads(() => [["1"]]);
  for (const end of ["leave", "fail", "leave at once"]) {
    const [ada, bob, eve] = joinAll(reads, ["ada", "bob", "eve"]).members;
    const batches = [ada!.takeBatch("5"), bob!.takeBatch("5")];
    if (end === "leave at once") ada!.leave();
    batches.push(eve!.takeBatch("5"));
    await batches[0];
    await ada!.read(STATEMENT);
    if (end === "fail") ada!.settle(undefined);
    else ada!.leave();
    expect(await Promise.all(batches)).toEqual([undefined, undefined, undefined]);
  }
});

test("runs a predicted statement once before the leader executes and uses it only if the leader issues it", async () => {
  const { reads, asked, flushed } = makeReads((_user, { values }) => [[String(values?.at(-1))]]);
  const { members } = joinAll(reads, ["ada", "bob"]);
  await takeBatch(members);
  asked.length = 0;
  const next = { ...STATEMENT, values: ["room", "6"] };
  expect(await takeBatch(members, [next], "6")).toEqual([false, true]);
  expect(asked).toEqual([next]);

  asked.length = 0;
  flushed.length = 0;
  const batches = members.map((member) => member.takeBatch("7"));
  await batches[0];
  expect(flushed).toEqual([{ ...STATEMENT, values: ["room", "7"] }]);
  const unforeseen = { ...STATEMENT, values: ["room", "7", "more"] };
  expect((await members[0]!.read(unforeseen)).rows).toEqual([["more"]]);
  expect(asked).toEqual([{ ...STATEMENT, values: ["room", "7"] }, unforeseen]);
  members[0]!.settle(ANSWER);
  await Promise.all(batches);
});

test("tries sharing less and less often in a group whose members see different rows", async () => {
  let tries = 0;
  const { reads } = makeReads((user) => {
    if (user !== "ada") tries += 1;
    return [[user]];
  });
  const { members } = joinAll(reads, ["ada", "bob", "eve"]);
  for (let i = 0; i < 100; i++) await takeBatch(members);
  expect(tries).toBeGreaterThan(2);
  expect(tries).toBeLessThan(40);
});

test("never shares an operation that reads caller-specific context", async () => {
  const { reads } = makeReads(() => [["1"]]);
  const looks: ((context: Grafast.Context) => unknown)[] = [
    ({ plinth }) => plinth.request,
    ({ pgSettings }) => (pgSettings as Record<string, string>)["jwt.claims.user_id"],
    ({ pgSettings }) => JSON.stringify(pgSettings),
    ({ plinth }) => ({ ...plinth }),
  ];
  const impersonal: ((context: Grafast.Context) => unknown)[] = [
    ({ withPgClient }) => withPgClient,
    ({ pgSettings }) => pgSettings,
    ({ live }) => live,
    (context) => ({ ...(context as object) }),
    ({ plinth }) => plinth.onPlan,
    (context) => (context as { then?: unknown }).then,
  ];
  for (const [look, isShared] of [
    ...looks.map((one) => [one, false] as const),
    ...impersonal.map((one) => [one, true] as const),
  ]) {
    const { members } = joinAll(reads, ["ada", "bob"]);
    const context = {
      pgSettings: settingsOf("ada"),
      withPgClient() {},
      plinth: { request: {}, onPlan() {} },
    };
    look(
      watchContext(context as never, { live: {} as never, withPgClient: (() => {}) as never }, () =>
        members[0]!.optOutOfSharing(),
      ),
    );
    expect(await takeBatch(members)).toEqual([false, isShared]);
  }
});
