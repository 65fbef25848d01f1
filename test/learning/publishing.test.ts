import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { grantRole } from "../support/accounts.ts";
import { type Api, codeOf, type SignedIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, rowsAs, type TestDatabase } from "../support/database.ts";

// Actions of an editor on published content, and of a learner on a training, over HTTP.

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
let editor: SignedIn;
let trainer: SignedIn;
const owner = rowsAs("owner", () => db);
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  [ada, editor, trainer] = [
    await signUp(api, "ada"),
    await signUp(api, "editor"),
    await signUp(api, "trainer"),
  ];
  await grantRole(db, editor.userId, "moderator");
  await grantRole(db, trainer.userId, "admin");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const send = (person: SignedIn, query: string, variables: Record<string, unknown>) =>
  api.ask(query, { token: person.token, variables });
async function ask(person: SignedIn, query: string, variables: Record<string, unknown>) {
  const answer = await send(person, query, variables);
  expect(answer.errors).toBeUndefined();
  return answer.data;
}

const ADD_CATEGORY = `mutation ($slug: String!, $parent: UUID) {
  createContentCategory(input: { contentCategory: { slug: $slug, name: $slug, parentId: $parent } }) { contentCategory { id } }
}`;
const addCategory = async (slug: string, parent?: string): Promise<string> =>
  (await ask(editor, ADD_CATEGORY, { slug, parent })).createContentCategory.contentCategory.id;

const WITHDRAW = "mutation ($id: UUID!) { unpublishContentItem(input: { itemId: $id }) { result { id } } }";
const PUBLISH = "mutation ($id: UUID!) { publishContentItem(input: { itemId: $id }) { result { id } } }";
const DELETE = "mutation ($id: UUID!) { deleteContentItem(input: { itemId: $id }) { result { id } } }";
const RESTORE = "mutation ($id: UUID!) { restoreContentItem(input: { itemId: $id }) { result { id } } }";

test("content that is withdrawn or deleted is hidden from learners until it is published or restored", async () => {
  const categoryId = await addCategory("stone");
  const { createContentItem } = await ask(
    editor,
    `mutation ($item: ContentItemInput!) { createContentItem(input: { contentItem: $item }) { contentItem { id } } }`,
    { item: { categoryId, slug: "basalt", contentType: "lesson", title: "Basalt" } },
  );
  const { id } = createContentItem.contentItem;
  await ask(
    editor,
    `mutation ($id: UUID!) { saveContentDraft(input: { itemId: $id, body: "Hard." }) { result { version } } }`,
    { id },
  );
  const isVisible = async () =>
    (await ask(ada, "query ($id: UUID!) { contentItem(id: $id) { title } }", { id })).contentItem !== null;

  for (const [step, visible] of [
    [PUBLISH, true],
    [WITHDRAW, false],
    [PUBLISH, true],
    [DELETE, false],
    [RESTORE, true],
  ] as const) {
    const before = await isVisible();
    expect(codeOf(await send(ada, step, { id }))).toMatch(/FORBIDDEN|NOT_FOUND/);
    expect(await isVisible()).toBe(before);
    await ask(editor, step, { id });
    expect([step, await isVisible()]).toEqual([step, visible]);
  }
});

test("moveContentCategory moves a category with its subcategories, and never below itself", async () => {
  const [plants, trees] = [await addCategory("plants"), await addCategory("trees")];
  const oaks = await addCategory("oaks", trees);
  const move = `mutation ($id: UUID!, $parent: UUID) {
    moveContentCategory(input: { categoryId: $id, newParentId: $parent }) { result { path } }
  }`;
  expect(codeOf(await send(ada, move, { id: trees, parent: plants }))).toBe("NOT_FOUND");
  expect(codeOf(await send(editor, move, { id: trees, parent: oaks }))).toBe("CONFLICT");
  expect((await ask(editor, move, { id: trees, parent: plants })).moveContentCategory.result).toEqual({
    path: "plants/trees",
  });
  const { contentCategory } = await ask(ada, "query ($id: UUID!) { contentCategory(id: $id) { path } }", {
    id: oaks,
  });
  expect(contentCategory).toEqual({ path: "plants/trees/oaks" });
});

test("a training is paused and resumed, and restarted once it is completed", async () => {
  const [{ id } = { id: "" }] = await owner<{ id: string }>(
    "insert into learning.skills (skill_name) values ('masonry') returning id",
  );
  const start = "mutation ($id: UUID!) { startTraining(input: { skillId: $id }) { result { status } } }";
  const pause = "mutation ($id: UUID!) { pauseTraining(input: { skillId: $id }) { result { status } } }";
  const restart =
    "mutation ($id: UUID!) { restartTraining(input: { skillId: $id }) { result { status progress run } } }";
  expect(codeOf(await send(ada, pause, { id }))).toBe("NOT_FOUND");
  await ask(ada, start, { id });
  expect((await ask(ada, pause, { id })).pauseTraining.result).toEqual({ status: "pending" });
  expect((await ask(ada, start, { id })).startTraining.result).toEqual({ status: "active" });
  const complete = `mutation ($user: UUID!, $id: UUID!) {
    recordTrainingProgress(input: { userId: $user, skillId: $id, progress: "1" }) { result { status } }
  }`;
  expect((await ask(trainer, complete, { user: ada.userId, id })).recordTrainingProgress.result).toEqual({
    status: "completed",
  });
  expect(codeOf(await send(ada, pause, { id }))).toBe("CONFLICT");
  expect(codeOf(await send(editor, restart, { id }))).toBe("NOT_FOUND");
  const { restartTraining } = await ask(ada, restart, { id });
  expect(restartTraining.result).toEqual({ status: "active", progress: "0.0000", run: 2 });
});
