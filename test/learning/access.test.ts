import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { grantRole, registerUser } from "../support/accounts.ts";
import {
  createTestDatabase,
  inRolledBackTransaction,
  type TestDatabase,
  type Transaction,
} from "../support/database.ts";
import { makeRandom } from "../support/random.ts";
import { addItem, complete, type ItemOptions, subscribe } from "./support.ts";

let db: TestDatabase;
let ada: string;
let bob: string;
let editor: string;
let manager: string;
beforeAll(async () => {
  db = await createTestDatabase();
  ada = await registerUser(db, "ada");
  bob = await registerUser(db, "bob");
  editor = await registerUser(db, "editor");
  manager = await registerUser(db, "manager");
  await grantRole(db, editor, "moderator");
  await grantRole(db, manager, "admin");
});
afterAll(async () => {
  await db.drop();
});

const permit = (
  tx: Transaction,
  user: string,
  item: string,
  permission: string,
  more: Record<string, unknown> = {},
) =>
  tx.rows(
    `insert into learning.user_content_permissions (user_id, item_id, permission, waives_prerequisites, granted_at, expires_at)
     values ($1, $2, $3, $4, now() - interval '10 days', now() + $5 * interval '1 day')`,
    [user, item, permission, more.waives ?? false, more.expires ?? null],
  );
const reasons = async (tx: Transaction, ...items: string[]): Promise<string[]> =>
  (
    await tx.rows<{ has_access: boolean; reason: string }>(
      "select has_access, reason from learning.content_access($1)",
      [items],
    )
  ).map(({ has_access, reason }) => `${has_access ? "+" : "-"}${reason}`);

test.each(["disabled", "deleted"])(
  "gives an account that is %s access to nothing, whatever it has",
  async (status) => {
    await inRolledBackTransaction(db, async (tx) => {
      const free = await addItem(tx.client);
      const paid = await addItem(tx.client, { accessLevel: 5 });
      const mine = await addItem(tx.client, { author: editor });
      await permit(tx, editor, paid, "allow");
      const access = () =>
        tx.rows<{ user_id: string; has_access: boolean; reason: string }>(
          `select user_id, has_access, reason from learning.user_content_access
         where user_id = any ($1) and content_id = any ($2)`,
          [
            [ada, editor],
            [free, paid, mine],
          ],
        );
      expect((await access()).filter(({ has_access }) => has_access)).toHaveLength(5);
      await tx.rows("update identity.users set account_status = $1 where id = any ($2)", [
        status,
        [ada, editor],
      ]);
      const rows = await access();
      expect(rows).toHaveLength(6);
      expect(new Set(rows.map(({ has_access, reason }) => `${has_access} ${reason}`))).toEqual(
        new Set(["false account_inactive"]),
      );
    });
  },
);

describe("the reason", () => {
  test("is the first that applies", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const free = await addItem(tx.client);
      const paid = await addItem(tx.client, { accessLevel: 5 });
      const preview = await addItem(tx.client, { accessLevel: 5, isPreview: true });
      const draft = await addItem(tx.client, { published: false });
      const mine = await addItem(tx.client, { published: false, author: ada });
      const later = await addItem(tx.client, { from: 1 });
      const over = await addItem(tx.client, { from: -2, until: -1 });
      const gone = await addItem(tx.client, { deleted: true });
      const after = await addItem(tx.client);
      await tx.rows(
        "insert into learning.content_prerequisites (item_id, required_item_id) values ($1, $2)",
        [after, free],
      );
      const all = [free, paid, preview, draft, mine, later, over, gone, after, bob];
      await tx.asAnonymous();
      const hidden = "-not_available";
      expect(await reasons(tx, ...all)).toEqual([
        "-sign_in_required",
        "-sign_in_required",
        "+preview",
        hidden,
        hidden,
        hidden,
        hidden,
        hidden,
        "-sign_in_required",
        hidden,
      ]);
      await tx.asUser(ada);
      expect(await reasons(tx, ...all)).toEqual([
        "+plan",
        "-plan_required",
        "+preview",
        hidden,
        "+author",
        hidden,
        hidden,
        hidden,
        "-prerequisites_missing",
        hidden,
      ]);
      expect(
        await tx.rows("select missing_prerequisites from learning.content_access($1)", [[after]]),
      ).toEqual([{ missing_prerequisites: [free] }]);
      await tx.asOwner();
      await complete(tx.client, ada, free);
      await subscribe(tx.client, ada, 5);
      await permit(tx, ada, preview, "deny");
      await tx.asUser(ada);
      expect(await reasons(tx, paid, preview, after)).toEqual(["+plan", "-denied", "+plan"]);
      await tx.asUser(editor);
      expect(await reasons(tx, ...all)).toEqual([...Array(9).fill("+editor"), hidden]);
    });
  });

  test("considers permissions until they expire, those on the item before those on its course", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const course = await addItem(tx.client, { type: "course", accessLevel: 5 });
      const lesson = await addItem(tx.client, { course, accessLevel: null });
      const other = await addItem(tx.client, { course, accessLevel: null });
      const base = await addItem(tx.client);
      await tx.rows(
        "insert into learning.content_prerequisites (item_id, required_item_id) values ($1, $2)",
        [course, base],
      );
      await permit(tx, ada, course, "allow");
      await permit(tx, ada, other, "deny");
      await tx.asUser(ada);
      expect(await reasons(tx, course, lesson, other)).toEqual([
        "-prerequisites_missing",
        "-prerequisites_missing",
        "-denied",
      ]);
      await tx.asOwner();
      await tx.rows(
        "update learning.user_content_permissions set waives_prerequisites = true where item_id = $1",
        [course],
      );
      await tx.asUser(ada);
      expect(await reasons(tx, course, lesson, other)).toEqual(["+permission", "+permission", "-denied"]);
      await tx.asOwner();
      await tx.rows("update learning.user_content_permissions set expires_at = now() - interval '1 day'");
      await tx.asUser(ada);
      expect(await reasons(tx, course, lesson, other)).toEqual(Array(3).fill("-plan_required"));
      await tx.asUser(bob);
      expect(await tx.rows("select from learning.user_content_permissions")).toEqual([]);
    });
  });

  test("is reported by read_content as an error that the caller can act on", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const free = await addItem(tx.client, { body: "the text" });
      const paid = await addItem(tx.client, { accessLevel: 5 });
      const draft = await addItem(tx.client, { published: false });
      const denied = await addItem(tx.client);
      const after = await addItem(tx.client);
      await tx.rows(
        "insert into learning.content_prerequisites (item_id, required_item_id) values ($1, $2)",
        [after, free],
      );
      await permit(tx, ada, denied, "deny");
      const read = (item: string) =>
        tx.attempt<{ body: string }>("select body from learning.read_content($1)", [item]);
      await tx.asAnonymous();
      await expect(read(free)).rejects.toMatchObject({ code: "PL401" });
      await tx.asUser(ada);
      expect(await read(free)).toEqual([{ body: "the text" }]);
      await expect(read(paid)).rejects.toMatchObject({ code: "PL403", hint: "plan_required" });
      await expect(read(denied)).rejects.toMatchObject({ code: "PL403", hint: "denied" });
      await expect(read(after)).rejects.toMatchObject({ code: "PL403", hint: "prerequisites_missing" });
      await expect(read(draft)).rejects.toMatchObject({ code: "PL404" });
      await expect(read(bob)).rejects.toMatchObject({ code: "PL404" });
    });
  });

  test("for another user is visible only to callers who manage access", async () => {
    await inRolledBackTransaction(db, async (tx) => {
      const paid = await addItem(tx.client, { accessLevel: 5 });
      await subscribe(tx.client, bob, 5);
      await complete(tx.client, bob, paid);
      const ofBob =
        "select has_access, reason from learning.user_content_access where user_id = $1 and content_id = $2";
      await tx.asUser(manager);
      expect(await tx.rows(ofBob, [bob, paid])).toEqual([{ has_access: true, reason: "plan" }]);
      for (const who of [ada, editor]) {
        await tx.asUser(who);
        expect(await tx.rows(ofBob, [bob, paid])).toEqual([]);
        // The functions behind it, called directly.
        if (db.adminIsSuperuser)
          expect(
            await tx.rows(
              "select learning.user_plan_level($1) as level, learning.is_content_editor($2) as editor, learning.has_completed($1, $3) as done",
              [bob, editor === who ? manager : editor, paid],
            ),
          ).toEqual([{ level: 0, editor: false, done: false }]);
      }
    });
  });
});

test("runs the documented queries on user_content_access as written [A9, A11]", async () => {
  await inRolledBackTransaction(db, async (tx) => {
    const free = await addItem(tx.client);
    const paid = await addItem(tx.client, { accessLevel: 5 });
    const other = await addItem(tx.client, { accessLevel: 7 });
    await subscribe(tx.client, ada, 5);
    const check = "SELECT has_access FROM user_content_access WHERE user_id = $1 AND content_id = $2";
    const list = `SELECT * FROM content_items ci
      JOIN user_content_access uca ON ci.id = uca.content_id
      WHERE uca.user_id = $1 AND uca.has_access = true`;
    const ids = async (user: string) =>
      (await tx.rows<{ content_id: string }>(list, [user])).map((row) => row.content_id).sort();
    // As the DBA, with the domains on the search path, for any user.
    expect(await tx.rows(check, [ada, paid])).toEqual([{ has_access: true }]);
    expect(await tx.rows(check, [bob, paid])).toEqual([{ has_access: false }]);
    expect(await ids(ada)).toEqual([free, paid].sort());
    expect(await ids(bob)).toEqual([free]);
    expect(await ids(editor)).toEqual([free, paid, other].sort());
    // As a user, only for themselves.
    await tx.asUser(ada);
    await tx.set("search_path", "plinth, identity, access, billing, llm, learning");
    expect(await tx.rows(check, [ada, other])).toEqual([{ has_access: false }]);
    expect(await ids(ada)).toEqual([free, paid].sort());
    expect(await ids(bob)).toEqual([]);
  });
});

/** The rule once more, without SQL. */
interface World {
  items: (ItemOptions & { id: string; requires: string[] })[];
  permissions: { user: string; item: string; permission: string; waives: boolean; expires: number | null }[];
  completed: Set<string>;
  levels: Map<string, number>;
}

function expected(world: World, user: string | null, isEditor: boolean, id: string): string {
  const byId = new Map(world.items.map((item) => [item.id, item]));
  const item = byId.get(id)!;
  const course = item.course ? byId.get(item.course)! : undefined;
  const up = (one: ItemOptions) =>
    one.published !== false && !one.deleted && (one.from ?? 0) <= 0 && (one.until == null || one.until > 0);
  const isAvailable = (one: ItemOptions) => up(one) && (!one.course || up(byId.get(one.course)!));
  if (isEditor) return "+editor";
  if (user && item.author === user) return "+author";
  if (!isAvailable(item)) return "-not_available";
  const of = (target: string | null | undefined) =>
    world.permissions.find(
      (p) => p.user === user && p.item === target && (p.expires === null || p.expires > 0),
    );
  const permission = of(id) ?? of(item.course);
  if (permission?.permission === "deny") return "-denied";
  if (item.isPreview) return "+preview";
  if (!user) return "-sign_in_required";
  const level = item.accessLevel ?? course?.accessLevel ?? 0;
  if (!permission && level > (world.levels.get(user) ?? 0)) return "-plan_required";
  const requires = [...item.requires, ...(course?.requires ?? [])].filter((required) =>
    isAvailable(byId.get(required)!),
  );
  if (!permission?.waives && requires.some((required) => !world.completed.has(`${user} ${required}`)))
    return "-prerequisites_missing";
  return permission ? "+permission" : "+plan";
}

/** Reproducible: the test's title contains the seed. */
function randomOf(seed: number) {
  const below = makeRandom(seed);
  return {
    chance: (p: number) => below(1_000) < p * 1_000,
    pick: <T>(values: readonly T[]): T => values[below(values.length)]!,
  };
}

test.each([1, 2, 3, 4, 5, 6])("gives access according to the rule in a random world (%i)", async (seed) => {
  const random = randomOf(seed);
  await inRolledBackTransaction(db, async (tx) => {
    const users = [ada, bob];
    const world: World = { items: [], permissions: [], completed: new Set(), levels: new Map() };
    for (let i = 0; i < 40; i++) {
      const courses = world.items.filter(({ type }) => type === "course");
      const isCourse = i < 4;
      const options: ItemOptions = {
        type: isCourse ? "course" : "lesson",
        course: !isCourse && random.chance(0.6) ? random.pick(courses).id : null,
        accessLevel: random.pick([null, 0, 0, 3, 6]),
        isPreview: random.chance(0.1),
        author: random.chance(0.1) ? random.pick(users) : null,
        published: !random.chance(0.1),
        ...random.pick([
          { from: -9 },
          { from: -9 },
          { from: -9, until: 5 },
          { from: -9, until: -1 },
          { from: 2 },
        ]),
        deleted: random.chance(0.08),
      };
      const id = await addItem(tx.client, options);
      world.items.push({ ...options, id, requires: [] });
    }
    const lessons = world.items.filter(({ type }) => type !== "course");
    for (let i = 0; i < 25; i++) {
      const [item, required] = [random.pick(world.items), random.pick(lessons)];
      if (item === required || item.requires.includes(required.id)) continue;
      await tx
        .attempt("insert into learning.content_prerequisites (item_id, required_item_id) values ($1, $2)", [
          item.id,
          required.id,
        ])
        .then(() => item.requires.push(required.id))
        .catch((error) => expect(error.code).toBe("PL409"));
    }
    for (const user of users) {
      if (random.chance(0.7)) {
        const level = random.pick([3, 6]);
        await subscribe(tx.client, user, level);
        world.levels.set(user, level);
      }
      for (const lesson of lessons)
        if (random.chance(0.3)) {
          await complete(tx.client, user, lesson.id);
          world.completed.add(`${user} ${lesson.id}`);
        }
      for (const item of world.items)
        if (random.chance(0.25)) {
          const permission = random.pick(["allow", "allow", "deny"]);
          const waives = permission === "allow" && random.chance(0.4);
          const expires = random.pick([null, 3, -1]);
          await permit(tx, user, item.id, permission, { waives, expires });
          world.permissions.push({ user, item: item.id, permission, waives, expires });
        }
    }
    const ids = world.items.map(({ id }) => id);
    const seen = new Set<string>();
    for (const [name, user] of [
      ["visitor", null],
      ["ada", ada],
      ["bob", bob],
      ["editor", editor],
    ] as const) {
      if (user) await tx.asUser(user);
      else await tx.asAnonymous();
      const wanted = ids.map((id) => expected(world, user, name === "editor", id));
      expect(await reasons(tx, ...ids)).toEqual(wanted);
      for (const reason of wanted) seen.add(reason);
      // Checks single items, the bodies that row security shows, and the view's rows for the user.
      expect(await reasons(tx, ids[7]!)).toEqual([wanted[7]]);
      const open = ids.filter((_, index) => wanted[index]!.startsWith("+"));
      const bodies = await tx.rows<{ id: string }>(
        "select distinct item_id as id from learning.content_bodies",
      );
      expect(bodies.map(({ id }) => id).sort()).toEqual(open.sort());
      if (!user) continue;
      await tx.asOwner();
      const view = await tx.rows<{ content_id: string; has_access: boolean }>(
        "select * from learning.user_content_access where user_id = $1 order by content_id",
        [user],
      );
      const readable = view.filter(({ has_access }) => has_access);
      expect(readable.map((row) => row.content_id).sort()).toEqual(open.sort());
      await tx.asAnalyst();
      expect(
        await tx.rows("select * from user_content_access where user_id = $1 order by content_id", [user]),
      ).toEqual(view);
      await tx.asOwner();
    }
    expect(seen.size).toBeGreaterThan(5);
  });
});
