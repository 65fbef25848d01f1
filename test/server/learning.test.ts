import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { grantRole } from "../support/accounts.ts";
import { type Api, codeOf, type SignedIn, signUp, startApi } from "../support/api.ts";
import { addItem } from "../support/content.ts";
import { createTestDatabase, type TestDatabase, withClient } from "../support/database.ts";

// Playing, reporting and training through the GraphQL API, as docs/learning.md shows it.

let db: TestDatabase;
let api: Api;
let ada: SignedIn;
let trainer: SignedIn;
let video: string;
let gated: string;
let course: string;
beforeAll(async () => {
  db = await createTestDatabase();
  api = await startApi(db);
  ada = await signUp(api, "ada");
  trainer = await signUp(api, "trainer");
  await grantRole(db, trainer.userId, "admin");
  course = await addItem(db, "course", { type: "course", duration: null });
  video = await addItem(db, "video", { duration: 100, course });
  gated = await addItem(db, "gated", { accessLevel: 9 });
});
afterAll(async () => {
  await api.close();
  await db.drop();
});

const RECORD = `mutation ($input: RecordHeartbeatInput!) {
  recordHeartbeat(input: $input) { progress { itemId progress positionSeconds completedVersion item { slug } } }
}`;
const beat = (from: number, more: object = {}) =>
  api.ask(RECORD, {
    token: ada.token,
    variables: {
      input: { itemId: video, eventId: randomUUID(), fromSeconds: from, toSeconds: from + 30, ...more },
    },
  });

test("records what a player played and returns where to continue", async () => {
  const eventId = randomUUID();
  // Read before the first heartbeat, so that the earlier ones cannot overlap it.
  const startedAt = Date.now();
  for (let i = 0; i < 2; i++) {
    const { data } = await beat(0, { eventId });
    expect(data.recordHeartbeat.progress).toEqual({
      itemId: video,
      progress: "0.3000",
      positionSeconds: 30,
      completedVersion: null,
      item: { slug: "video" },
    });
  }
  const offline = [30, 60, 90].map((fromSeconds) => ({
    eventId: randomUUID(),
    itemId: video,
    fromSeconds,
    toSeconds: fromSeconds + 30,
    occurredAt: new Date(startedAt - 200_000 + fromSeconds * 1000).toISOString(),
  }));
  const { data } = await api.ask(
    "mutation ($heartbeats: JSON!) { recordHeartbeats(input: {heartbeats: $heartbeats}) { results { eventId outcome reason } } }",
    {
      token: ada.token,
      variables: { heartbeats: [...offline, { eventId, itemId: video, fromSeconds: 0, toSeconds: 30 }] },
    },
  );
  const outcomes = data.recordHeartbeats.results.map((result: { outcome: string }) => result.outcome);
  expect(outcomes.sort()).toEqual(["recorded", "recorded", "recorded", "repeated"]);
  const reused = await api.ask(
    "mutation ($heartbeats: JSON!) { recordHeartbeats(input: {heartbeats: $heartbeats}) { results { outcome reason } } }",
    { token: ada.token, variables: { heartbeats: [{ ...offline[0], eventId }] } },
  );
  expect(reused.data.recordHeartbeats.results).toEqual([{ outcome: "refused", reason: "event_id" }]);

  const report = await api.ask(
    `query ($course: UUID!) {
      contentItem(id: $course) {
        slug
        progress { itemCount completedCount progress activeSeconds }
        contentProgresses { nodes { completedVersion completedAt } }
      }
      contentProgresses(orderBy: PRIMARY_KEY_ASC) { nodes { progress item { slug } } }
      contentConsumptions { totalCount nodes { heartbeatCount activeSeconds } }
      currentUser { contentProgresses { totalCount } }
    }`,
    { token: ada.token, variables: { course } },
  );
  expect(report.errors).toBeUndefined();
  expect(report.data.contentItem).toMatchObject({
    slug: "course",
    progress: { itemCount: 1, completedCount: 1, progress: "1.0000", activeSeconds: "120" },
    contentProgresses: { nodes: [{ completedVersion: 1 }] },
  });
  expect(report.data.contentConsumptions).toEqual({
    totalCount: 1,
    nodes: [{ heartbeatCount: 4, activeSeconds: 120 }],
  });

  const learners = await api.ask(
    "query ($course: UUID!) { courseLearners(courseId: $course) { nodes { userId completedCount itemCount progress } } }",
    { token: trainer.token, variables: { course } },
  );
  expect(learners.data.courseLearners.nodes).toEqual([
    { userId: ada.userId, completedCount: 1, itemCount: 1, progress: "1.0000" },
  ]);
});

test("rejects an invalid call with a code and the field at fault", async () => {
  expect(codeOf(await beat(0, { itemId: gated }))).toBe("FORBIDDEN");
  expect(codeOf(await beat(0, { itemId: randomUUID() }))).toBe("NOT_FOUND");
  expect(codeOf(await beat(0, { itemId: "x" }))).toBe("BAD_USER_INPUT");
  const { errors } = await beat(0, { activeSeconds: 1 });
  expect(errors).toMatchObject([{ extensions: { code: "BAD_USER_INPUT", field: "activeSeconds" } }]);
  const visitor = await api.ask(RECORD, {
    variables: { input: { itemId: video, eventId: randomUUID(), fromSeconds: 0, toSeconds: 1 } },
  });
  expect(codeOf(visitor)).toBe("UNAUTHENTICATED");
  for (const query of [
    'mutation { updateContentProgress(input: {userId: "", itemId: "", patch: {}}) { clientMutationId } }',
    "{ contentProgresses { nodes { covered } } }",
    "{ contentProgresses { nodes { creditedVersion } } }",
    "{ myItemProgresses { nodes { progress } } }",
  ])
    expect((await api.ask(query, { token: ada.token })).errors).toHaveLength(1);
});

test("lets a trainer add a skill, a learner train it and an assessment change the level", async () => {
  const made = await api.ask(
    'mutation { createSkill(input: {skill: {name: "empathy", displayName: "Empathy"}}) { skill { id } } }',
    { token: trainer.token },
  );
  const skillId: string = made.data.createSkill.skill.id;
  const started = await api.ask(
    "mutation ($skillId: UUID!) { startTraining(input: {skillId: $skillId}) { result { status progress run } } }",
    { token: ada.token, variables: { skillId } },
  );
  expect(started.data.startTraining.result).toEqual({ status: "active", progress: "0.0000", run: 1 });
  const ASSESS = `mutation ($input: AssessSkillInput!) {
    assessSkill(input: $input) { result { kind delta note recordedBy userSkill { level skill { name } } } }
  }`;
  const input = { userId: ada.userId, skillId, delta: "1.5", note: "listens well", eventKey: "review-1" };
  expect(codeOf(await api.ask(ASSESS, { token: ada.token, variables: { input } }))).toBe("FORBIDDEN");
  for (let i = 0; i < 2; i++) {
    const { data, text } = await api.ask(ASSESS, { token: trainer.token, variables: { input } });
    expect({ text, result: data?.assessSkill.result }).toMatchObject({
      result: { delta: "1.50", userSkill: { level: "1.50", skill: { name: "empathy" } } },
    });
  }
  await api.ask(
    "mutation ($input: RecordTrainingProgressInput!) { recordTrainingProgress(input: $input) { result { status } } }",
    { token: trainer.token, variables: { input: { userId: ada.userId, skillId, progress: "1" } } },
  );
  const { data } = await api.ask(
    `{ learningAnalytics { nodes { level levelGained30Days trainingStatus trainingProgress skill { name } } }
       userSkills { nodes { level evidence { nodes { kind delta } } } } }`,
    { token: ada.token },
  );
  expect(data.learningAnalytics.nodes).toEqual([
    {
      level: "2.50",
      levelGained30Days: "2.50",
      trainingStatus: "completed",
      trainingProgress: "1.0000",
      skill: { name: "empathy" },
    },
  ]);
  expect(data.userSkills.nodes[0].evidence.nodes).toEqual([
    { kind: "assessment", delta: "1.50" },
    { kind: "training", delta: "1.00" },
  ]);
});

test("explains each recommendation", async () => {
  await withClient(db.url("owner"), (client) =>
    client.query("update learning.content_items set level = 3 where slug = 'gated'"),
  );
  const article = await addItem(db, "article", { type: "article", duration: null });
  const { data } = await api.ask(
    "{ recommendItems(maxCount: 5) { nodes { itemId slug reason score levelFit } } }",
    {
      token: ada.token,
    },
  );
  expect(data.recommendItems.nodes).toMatchObject([{ itemId: article, slug: "article" }]);
  const done = await api.ask(
    "mutation ($id: UUID!) { completeContentItem(input: {itemId: $id}) { progress { progress completedVersion } } }",
    { token: ada.token, variables: { id: article } },
  );
  expect(done.data.completeContentItem.progress).toEqual({ progress: "1.0000", completedVersion: 1 });
});

test("answers the queries of docs/learning.md that the tests above do not run", async () => {
  const begun = await api.ask(
    `{ contentProgresses(filter: { completedAt: { isNull: true } }, orderBy: LAST_ACTIVITY_AT_DESC) {
      nodes { item { slug title } progress positionSeconds lastActivityAt }
    } }`,
    { token: ada.token },
  );
  expect(begun.errors).toBeUndefined();
  const report = await api.ask(
    `query ($course: UUID!) {
      contentItem(id: $course) {
        title
        progress { itemCount completedCount progress activeSeconds lastActivityAt }
        parts { nodes { title progress { progress } } }
      }
      contentCategories { nodes { path progress { itemCount completedCount progress } } }
    }`,
    { token: ada.token, variables: { course } },
  );
  expect(report.errors).toBeUndefined();
  const [part] = report.data.contentItem.parts.nodes;
  expect(part.progress.progress).toBe(report.data.contentItem.progress.progress);
  const skill = await api.ask(
    'mutation { createSkill(input: {skill: {name: "patience"}}) { skill { id } } }',
    {
      token: trainer.token,
    },
  );
  const skillId: string = skill.data.createSkill.skill.id;
  const teaches = await api.ask(
    `mutation ($item: UUID!, $skill: UUID!) {
      createContentSkill(input: {contentSkill: {itemId: $item, skillId: $skill, gain: "0.5"}}) { contentSkill { gain item { slug } } }
    }`,
    { token: trainer.token, variables: { item: video, skill: skillId } },
  );
  expect(teaches.data?.createContentSkill.contentSkill).toEqual({ gain: "0.50", item: { slug: "video" } });
  const taken = await api.ask(
    "mutation ($skill: UUID!) { createUserSkill(input: {userSkill: {skillId: $skill}}) { userSkill { level } } }",
    { token: ada.token, variables: { skill: skillId } },
  );
  expect(taken.data?.createUserSkill.userSkill).toEqual({ level: "0.00" });
});
