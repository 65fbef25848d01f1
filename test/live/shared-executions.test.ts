import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from "@jest/globals";
import type { Client } from "graphql-ws";
import pg from "pg";
import { ReadingStep } from "../../plugins/live/reading-step.ts";
import type { LiveItem } from "../../src/live/live-source.ts";
import { SharedExecution } from "../../src/live/shared-execution.ts";
import { type Api, type SignedIn, signUp, startApi, until } from "../support/api.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { makeRandom } from "../support/random.ts";
import { connect, contents, type Heard, listen, makeRoom, ROOM_EVENTS } from "./support.ts";

let db: TestDatabase;
let api: Api;
let owner: pg.Client;
let people: SignedIn[];
const clients: Client[] = [];

beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  owner = new pg.Client({ connectionString: db.url("owner") });
  await owner.connect();
  people = [];
  for (const name of ["ada", "bob", "eve", "joe", "sue", "tom"]) people.push(await signUp(api, name));
});
afterEach(async () => {
  jest.restoreAllMocks();
  for (const client of clients.splice(0)) await client.dispose();
});
afterAll(async () => {
  await owner.end();
  await api.close();
  await db.drop();
});

/** Subscribes over a socket of its own and waits until the server confirms that it listens. */
async function hear(user: SignedIn, room: string, query = ROOM_EVENTS, after?: string): Promise<Heard> {
  const client = connect(api, user);
  clients.push(client);
  const heard = listen(client, query, { room, after });
  await until(() => heard.answers.length > 0 || heard.ended !== undefined);
  return heard;
}

/** Runs functions as several users in one transaction, so that no intermediate state is read. */
async function atOnce(...steps: [SignedIn, string, ...unknown[]][]): Promise<Record<string, string>[]> {
  const results: Record<string, string>[] = [];
  await owner.query("begin");
  try {
    for (const [user, sql, ...values] of steps) {
      await owner.query("select set_config('jwt.claims.user_id', $1, true)", [user.userId]);
      results.push((await owner.query(sql, values)).rows[0]);
    }
    await owner.query("commit");
  } catch (error) {
    await owner.query("rollback");
    throw error;
  }
  return results;
}

const POST = "select (rooms.post_room_message($1, $2)).id";

/** Counts the subscriptions that shared another one's answer, and those that tried and could not. */
function watchSharing() {
  const executions: Promise<[shared: number, tried: number]>[] = [];
  const settle = SharedExecution.prototype.settle;
  jest.spyOn(SharedExecution.prototype, "settle").mockImplementation(async function (
    this: SharedExecution,
    answer,
  ) {
    const shared = settle.call(this, answer);
    executions.push(shared.then((count) => [count, this.othersCount]));
    return shared;
  });
  return async () => {
    const counts = await Promise.all(executions);
    const shared = counts.reduce((sum, [count]) => sum + count, 0);
    return { shared, refused: counts.reduce((sum, [, tried]) => sum + tried, 0) - shared };
  };
}

/** Calls `before` with each execution of a live operation, whose answer may be shared. */
function watchExecutions(before: (item: LiveItem) => void = () => {}): { count: number } {
  const executions = { count: 0 };
  const execute = ReadingStep.prototype.unbatchedExecute;
  jest.spyOn(ReadingStep.prototype, "unbatchedExecute").mockImplementation(function (
    this: ReadingStep,
    extra,
    item,
    ...values
  ) {
    executions.count += 1;
    before(item);
    return execute.call(this, extra, item, ...values);
  });
  return executions;
}

test("runs one execution for subscribers that see the same rows", async () => {
  const room = await makeRoom(api, people);
  const heard = await Promise.all([...people, ...people].map((user) => hear(user, room)));
  const executions = watchExecutions();
  const texts = Array.from({ length: 10 }, (_, i) => `text ${i}`);
  for (const [i, text] of texts.entries()) {
    await atOnce([people[i % people.length]!, POST, room, text]);
    await until(() => heard.every((one) => contents(one).length === i + 1));
  }
  for (const one of heard) expect(contents(one)).toEqual(texts);
  expect(executions.count).toBeGreaterThanOrEqual(texts.length);
  // 120 without sharing; a socket that is late for a batch executes on its own.
  expect(executions.count).toBeLessThan((texts.length * heard.length) / 2);
});

test("executes subscriptions with different operations, variables or cursors separately", async () => {
  const room = await makeRoom(api, people);
  const other = await makeRoom(api, people);
  const [ada] = people as [SignedIn];
  for (let i = 1; i <= 3; i++)
    await atOnce([ada, POST, room, `before ${i}`], [ada, POST, other, `elsewhere ${i}`]);
  const kinds = ROOM_EVENTS.replace("message { content }", "kind");
  const heard = await Promise.all([
    hear(people[1]!, room),
    hear(people[2]!, room, kinds),
    hear(people[3]!, other),
    hear(people[4]!, room, ROOM_EVENTS, "0"),
  ]);
  await atOnce([ada, POST, room, "now"], [ada, POST, other, "there"]);
  await until(() => heard.every(({ answers }) => answers.at(-1).events.at(-1)?.kind === "message_posted"));
  await until(() => contents(heard[3]!).includes("now"));
  expect(contents(heard[0]!)).toEqual(["now"]);
  expect(heard[1]!.answers.at(-1).events).toEqual([{ sequence: expect.any(String), kind: "message_posted" }]);
  expect(contents(heard[2]!)).toEqual(["there"]);
  expect(contents(heard[3]!)).toEqual(["before 1", "before 2", "before 3", "now"]);
});

const FIELDS = {
  plain: "sequence kind userId message { content isDeleted editedAt reactions { nodes { emoji userId } } }",
  // Fields of the same message that differ for each viewer.
  personal: `sequence kind message {
    content recipients { nodes { userId } } revisions { nodes { content } }
    room { unread { unreadCount } myMembership { userId role } }
  }`,
};
const operation = (name: string, fields: string) =>
  `subscription ${name}($room: UUID!, $after: BigInt) { roomEvents(roomId: $room, after: $after) { sequence events { ${fields} } } }`;

interface Member {
  readonly user: SignedIn;
  /** By the selected fields: with the shared operation, and with one that only this member uses. */
  readonly heard: Map<string, { shared: Heard; alone: Heard }>;
}

async function enter(user: SignedIn, room: string): Promise<Member> {
  const heard: Member["heard"] = new Map();
  for (const [name, fields] of Object.entries(FIELDS)) {
    const shared = await hear(user, room, operation("Together", fields));
    const alone = await hear(user, room, operation(`Alone_${user.userId.replaceAll("-", "")}`, fields));
    heard.set(name, { shared, alone });
  }
  return { user, heard };
}

const eventsOf = ({ answers }: Heard) => answers.flatMap(({ events }) => events);

test.each([1, 2, 3])(
  "delivers to each subscriber exactly the events it would receive alone (%i)",
  async (seed) => {
    const random = makeRandom(seed);
    const pick = <T>(all: readonly T[]): T => all[random(all.length)]!;
    const room = await makeRoom(api, people);
    const [ada, ...rest] = people as [SignedIn, ...SignedIn[]];
    const sharing = watchSharing();
    const members = new Map<SignedIn, Member>();
    const gone: Member[] = [];
    for (const user of people) members.set(user, await enter(user, room));
    const posted: { id: string; sender: SignedIn }[] = [];

    for (let step = 0; step < 40; step++) {
      const present = [...members.keys()];
      const user = pick(present);
      const message = posted.filter(({ sender }) => members.has(sender)).at(-1 - random(3));
      const action = random(10);
      const mark: [SignedIn, string, ...unknown[]] = [ada, POST, room, `mark ${step}`];
      if (action === 0 && members.size > 3) {
        const left = pick(rest.filter((one) => members.has(one)));
        gone.push(members.get(left)!);
        members.delete(left);
        await atOnce([ada, "select from rooms.remove_room_member($1, $2)", room, left.userId], mark);
        await until(() =>
          [...gone.at(-1)!.heard.values()].every(({ shared, alone }) => shared.ended && alone.ended),
        );
      } else if (action === 1 && members.size < people.length) {
        const back = pick(rest.filter((one) => !members.has(one)));
        await atOnce([back, "select from rooms.join_room($1)", room]);
        members.set(back, await enter(back, room));
        await atOnce(mark);
      } else if (action === 2) {
        // No user blocks Ada, whose marks show that a step was received.
        await atOnce(
          [
            user,
            `select from rooms.${random(2) ? "" : "un"}block_user($1)`,
            pick(rest.filter((one) => one !== user)).userId,
          ],
          mark,
        );
      } else if (action === 3) {
        await atOnce([user, "select from rooms.mark_room_read($1)", room], mark);
      } else if (action === 4 && message) {
        await atOnce(
          [message.sender, "select from rooms.edit_room_message($1, $2)", message.id, `edited ${step}`],
          mark,
        );
      } else if (action === 5 && message) {
        await atOnce(
          [message.sender, "select from rooms.react($1, $2)", message.id, pick(["👍", "🎉"])],
          mark,
        );
      } else if (action <= 7) {
        const others = present.filter((one) => one !== user);
        const sure = pick(others);
        const recipients = others
          .filter((one) => one === sure || random(2) === 0)
          .map(({ userId }) => userId);
        await atOnce(
          [
            user,
            "select (rooms.post_room_message($1, $2, recipients => $3)).id",
            room,
            `private ${step}`,
            recipients,
          ],
          mark,
        );
      } else {
        const [result] = await atOnce([user, POST, room, `public ${step}`], mark);
        posted.push({ id: result!.id!, sender: user });
      }
      const hasMark = (one: Heard) =>
        eventsOf(one).some((event) => event.message?.content === `mark ${step}`);
      await until(() =>
        [...members.values()].every(({ heard }) =>
          [...heard.values()].every(({ shared, alone }) => hasMark(shared) && hasMark(alone)),
        ),
      );
    }

    for (const { heard } of [...members.values(), ...gone])
      for (const { shared, alone } of heard.values()) {
        expect(eventsOf(shared)).toEqual(eventsOf(alone));
        expect(shared.ended).toBe(alone.ended);
        const sequences = eventsOf(shared).map(({ sequence }) => sequence);
        expect(new Set(sequences).size).toBe(sequences.length);
      }
    for (const { heard } of gone) expect(heard.get("plain")!.shared.ended).toBe("NOT_FOUND");
    const { shared, refused } = await sharing();
    expect(shared).toBeGreaterThan(0);
    expect(refused).toBeGreaterThan(0);
  },
);

describe("no event is lost or duplicated", () => {
  test("when the leader ends during its execution", async () => {
    const room = await makeRoom(api, people);
    const heard = await Promise.all(people.map((user) => hear(user, room)));
    let ended = 0;
    const executions = watchExecutions(({ subscription }) => {
      // The first execution of every third message.
      if (executions.count % 9 !== 1 || ended === 3) return;
      ended += 1;
      subscription.end();
    });
    const texts: string[] = [];
    const open = () => heard.filter((one) => one.ended === undefined);
    // How many executions a text needs depends on how many subscribers are in time for the first.
    while (ended < 3 || texts.length < 12) {
      const text = `text ${texts.length}`;
      texts.push(text);
      await atOnce([people[0]!, POST, room, text]);
      await until(() => open().every((one) => contents(one).at(-1) === text));
    }
    expect(ended).toBe(3);
    expect(open()).toHaveLength(people.length - ended);
    for (const one of open()) expect(contents(one)).toEqual(texts);
    for (const one of heard) expect(contents(one)).toEqual(texts.slice(0, contents(one).length));
  });

  test("when subscribers come and go while others listen", async () => {
    const room = await makeRoom(api, people);
    const steady = await Promise.all(people.slice(0, 3).map((user) => hear(user, room)));
    const texts = Array.from({ length: 60 }, (_, i) => `text ${i}`);
    const fickle = people.slice(3).map(async (user, i) => {
      const all: string[] = [];
      let after = "0";
      while (all.at(-1) !== texts.at(-1)) {
        const heard = await hear(user, room, ROOM_EVENTS, after);
        await new Promise((resolve) => setTimeout(resolve, 20 + 10 * i));
        heard.stop();
        const answers = [...heard.answers];
        all.push(...contents({ ...heard, answers }));
        after = answers.at(-1).sequence;
      }
      return all;
    });
    for (const text of texts) await atOnce([people[0]!, POST, room, text]);
    await until(() => steady.every((one) => contents(one).length === texts.length));
    for (const one of steady) expect(contents(one)).toEqual(texts);
    for (const all of await Promise.all(fickle)) expect(all).toEqual(texts);
  });

  test("when reading fails for one subscriber", async () => {
    const room = await makeRoom(api, people);
    const unlucky = people[2]!;
    const admin = new pg.Client({ connectionString: db.adminUrl });
    await admin.connect();
    try {
      // As a policy may fail on an unexpected row.
      await admin.query(`
        create function public.fails_for(unlucky uuid) returns boolean language plpgsql as $$
        begin
          if plinth.current_user_id() = unlucky then raise exception 'no luck'; end if;
          return true;
        end $$;
        grant usage on schema public to public;
        create policy fails on rooms.room_messages as restrictive for select to public
          using (content <> 'trap' or public.fails_for('${unlucky.userId}'))`);
      const heard = await Promise.all(people.map((user) => hear(user, room)));
      const texts = ["one", "trap", "three"];
      for (const text of texts) {
        await atOnce([people[0]!, POST, room, text]);
        await until(() => heard.every((one) => one.ended !== undefined || contents(one).at(-1) === text));
      }
      for (const [i, one] of heard.entries())
        expect([one.ended, contents(one)]).toEqual(
          people[i] === unlucky ? ["INTERNAL", ["one"]] : [undefined, texts],
        );
    } finally {
      await admin.query("drop policy if exists fails on rooms.room_messages");
      await admin.query("drop function if exists public.fails_for(uuid)");
      await admin.end();
    }
  });
});
