import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { grantRole } from "../support/accounts.ts";
import { type Api, type SignedIn, signUp, startApi } from "../support/api.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";
import { addItem, subscribe } from "./support.ts";

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
let editor: SignedIn;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  ada = await signUp(api, "ada");
  editor = await signUp(api, "editor");
  await grantRole(db, editor.userId, "moderator");
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const PAGE = `{ contentItems(orderBy: TITLE_ASC) { nodes { title access { hasAccess reason requiredAccessLevel } } } }`;

test("publishes an editor's course over the API and shows users the items open to them [A4]", async () => {
  const ask = async (query: string, variables = {}) => {
    const answer = await api.ask(query, { token: editor.token, variables });
    expect(answer.errors).toBeUndefined();
    return answer.data;
  };
  const { made } = await ask(
    `mutation { made: createContentCategory(input: { contentCategory: { slug: "ai", name: "AI" } }) { contentCategory { id path } } }`,
  );
  const create = async (item: object): Promise<string> =>
    (
      await ask(
        `mutation ($item: ContentItemInput!) { made: createContentItem(input: { contentItem: $item }) { contentItem { id } } }`,
        { item: { categoryId: made.contentCategory.id, ...item } },
      )
    ).made.contentItem.id;
  const course = await create({
    slug: "c",
    contentType: "course",
    title: "1 Course",
    requiredAccessLevel: 5,
  });
  const preview = await create({
    slug: "p",
    contentType: "lesson",
    title: "2 Preview",
    courseId: course,
    isPreview: true,
  });
  const lesson = await create({ slug: "l", contentType: "lesson", title: "3 Lesson", courseId: course });
  for (const [id, body] of [
    [preview, "Hello"],
    [lesson, "Deep"],
  ])
    await ask(
      `mutation ($id: UUID!, $body: String!) { saveContentDraft(input: { itemId: $id, body: $body }) { result { version } } }`,
      { id, body },
    );
  for (const id of [course, preview, lesson])
    await ask(
      `mutation ($id: UUID!) { publishContentItem(input: { itemId: $id }) { result { currentVersion availableFrom } } }`,
      { id },
    );

  const visitor = await api.ask(PAGE);
  const decision = (hasAccess: boolean, reason: string) => ({ hasAccess, reason, requiredAccessLevel: 5 });
  expect(visitor.data.contentItems.nodes).toEqual([
    { title: "1 Course", access: decision(false, "sign_in_required") },
    { title: "2 Preview", access: decision(true, "preview") },
    { title: "3 Lesson", access: decision(false, "sign_in_required") },
  ]);
  const READ = `query ($id: UUID!) { readContent(itemId: $id) { body version } }`;
  expect((await api.ask(READ, { variables: { id: preview } })).data).toEqual({
    readContent: { body: "Hello", version: 1 },
  });
  expect((await api.ask(READ, { variables: { id: lesson } })).errors).toMatchObject([
    { extensions: { code: "UNAUTHENTICATED" } },
  ]);
  expect((await api.ask(READ, { variables: { id: lesson }, token: ada.token })).errors).toMatchObject([
    { extensions: { code: "FORBIDDEN" } },
  ]);

  await withClient(db.url("owner"), (client) => subscribe(client, ada.userId, 5));
  const member = await api.ask(PAGE, { token: ada.token });
  expect(member.data.contentItems.nodes.map((node: { access: object }) => node.access)).toEqual([
    decision(true, "plan"),
    decision(true, "preview"),
    decision(true, "plan"),
  ]);
  expect((await api.ask(READ, { variables: { id: lesson }, token: ada.token })).data.readContent.body).toBe(
    "Deep",
  );

  const found = await api.ask(
    `{ searchContent(query: "lesson") { nodes { titleHtml isSimilar item { title category { path } course { title } access { reason } } } }
       contentSearchFacets(query: "lesson") { nodes { facet value itemCount } }
       contentAccess(itemIds: ["${lesson}", "${ada.userId}"]) { nodes { itemId hasAccess reason } } }`,
    { token: ada.token },
  );
  expect(found.errors).toBeUndefined();
  expect(found.data.searchContent.nodes).toEqual([
    {
      titleHtml: "3 <mark>Lesson</mark>",
      isSimilar: false,
      item: {
        title: "3 Lesson",
        category: { path: "ai" },
        course: { title: "1 Course" },
        access: { reason: "plan" },
      },
    },
  ]);
  expect(found.data.contentSearchFacets.nodes).toContainEqual({
    facet: "content_type",
    value: "lesson",
    itemCount: "1",
  });
  expect(found.data.contentAccess.nodes).toEqual([
    { itemId: lesson, hasAccess: true, reason: "plan" },
    { itemId: ada.userId, hasAccess: false, reason: "not_available" },
  ]);

  const rated = await api.ask(
    `mutation ($id: UUID!) { rateContentItem(input: { itemId: $id, rating: 4 }) { result { rating item { ratingCount ratingAverage } } } }`,
    { variables: { id: lesson }, token: ada.token },
  );
  expect(rated.data.rateContentItem.result).toEqual({
    rating: 4,
    item: { ratingCount: 1, ratingAverage: "4.00" },
  });
});

test("returns codes for denials: a learner can write nothing, and no list contains bodies", async () => {
  const item = await withClient(db.url("owner"), (client) =>
    addItem(client, { accessLevel: 9, body: "the secret text" }),
  );
  for (const [mutation, code] of [
    [`publishContentItem(input: { itemId: "${item}" }) { clientMutationId }`, "FORBIDDEN"],
    [`updateContentItem(input: { id: "${item}", patch: { title: "x" } }) { clientMutationId }`, "NOT_FOUND"],
    [`rateContentItem(input: { itemId: "${item}", rating: 5 }) { clientMutationId }`, "NOT_FOUND"],
    [
      `createUserContentPermission(input: { userContentPermission: { userId: "${ada.userId}", itemId: "${item}", permission: allow } }) { clientMutationId }`,
      "FORBIDDEN",
    ],
  ])
    expect((await api.ask(`mutation { ${mutation} }`, { token: ada.token })).errors).toMatchObject([
      { extensions: { code } },
    ]);
  const list = await api.ask(
    "{ contentBodies { nodes { body } } contentItems { nodes { versions { nodes { version contentBody { body } } } } } }",
    { token: ada.token },
  );
  expect(list.errors).toBeUndefined();
  expect(list.text).not.toContain("secret");
});

test("rejects a number outside its range before rounding would bring it into the range", async () => {
  const admin = await signUp(api, "manager");
  await grantRole(db, admin.userId, "admin");
  const create = (trainingGain: string, skillName: string) =>
    api.ask(
      `mutation ($skill: SkillInput!) { createSkill(input: { skill: $skill }) { skill { trainingGain } } }`,
      { token: admin.token, variables: { skill: { name: skillName, trainingGain } } },
    );
  for (const gain of ["10.004", "-0.004", "0.125", "NaN"]) {
    const { errors } = await create(gain, "refused");
    expect([gain, errors?.[0]?.extensions?.code]).toEqual([gain, "BAD_USER_INPUT"]);
  }
  const { data, errors } = await create("0.5", "accepted");
  expect(errors).toBeUndefined();
  expect(data.createSkill.skill).toEqual({ trainingGain: "0.50" });
});
