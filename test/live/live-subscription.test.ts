import { expect, test } from "@jest/globals";
import { GraphQLError } from "postgraphile/graphql";
import { deliver } from "../../src/http/websocket/deliver.ts";
import { Hub } from "../../src/live/hub.ts";
import type { LiveSource, Reading } from "../../src/live/live-source.ts";
import { LiveSubscription } from "../../src/live/live-subscription.ts";
import { SubscriptionLimits } from "../../src/live/subscription-limits.ts";
import { PlinthError } from "../../src/support/errors.ts";
import { until } from "../support/api.ts";

const TOPIC = "room:1";

/** A log in memory, and Grafast as it is: it begins a batch as soon as it may, whether or not its answers are taken. */
function makeStage(options: Partial<LiveSource> = {}, pageSize = 3) {
  const hub = new Hub();
  const log: number[] = [];
  const stage = {
    hub,
    log,
    batches: 0,
    fail: undefined as Error | undefined,
    mayRead: true,
    hidden: 0,
    afters: [] as number[],
  };
  let ended = 0;
  const subscription = new LiveSubscription({ hub, onEnd: () => ended++ });
  const batches = subscription.start({
    topics: [TOPIC],
    isLog: true,
    after: 0n,
    minIntervalMs: 0,
    open: async () => (stage.mayRead ? BigInt(log.length) : null),
    ...options,
  });
  async function* execute() {
    const waiting: unknown[] = [];
    let wake = () => {};
    let outcome: { error?: unknown } | undefined;
    void (async () => {
      for await (const item of batches) {
        stage.batches += 1;
        stage.afters.push(Number(item.after));
        await Promise.resolve();
        if (stage.fail) waiting.push({ errors: [new GraphQLError("x", { originalError: stage.fail })] });
        else {
          const found = stage.mayRead
            ? log.filter((n) => n > Math.max(Number(item.after), stage.hidden)).slice(0, pageSize)
            : [];
          const reading: Reading = {
            isEmpty: found.length === 0,
            hasMore: found.length === pageSize,
            ...(options.isLog === false ? {} : { cursor: BigInt(found.at(-1) ?? item.after) }),
          };
          item.subscription.report(reading);
          waiting.push({ data: { found: options.isLog === false ? log.length : found } });
        }
        wake();
      }
    })().then(
      () => {
        outcome = {};
        wake();
      },
      (error: unknown) => {
        outcome = { error };
        wake();
      },
    );
    for (;;) {
      if (waiting.length > 0) yield waiting.shift() as never;
      else if (outcome?.error) throw outcome.error;
      else if (outcome) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  }
  const answers = deliver(execute(), subscription);
  const next = async () => {
    const { done, value } = await answers.next();
    return done ? undefined : (value.data?.found as number[] | number);
  };
  const add = (...numbers: number[]) => {
    log.push(...numbers);
    hub.hear(`${TOPIC} ${log.length}`);
  };
  return { stage, subscription, answers, next, add, ended: () => ended };
}

const away = () => Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });

test("reads nothing for a subscriber that has not taken the last answer", async () => {
  const { stage, next, add } = makeStage();
  expect(await next()).toEqual([]);
  for (let n = 1; n <= 8; n++) {
    add(n);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  expect(stage.batches).toBe(1);
  expect([await next(), await next(), await next()]).toEqual([
    [1, 2, 3],
    [4, 5, 6],
    [7, 8],
  ]);
  expect(stage.batches).toBe(4);
});

test("retries a batch from the same cursor when it failed because the database is unavailable", async () => {
  const { stage, next, add } = makeStage();
  await next();
  stage.fail = away();
  add(1, 2);
  const answer = next();
  await until(() => stage.batches >= 3);
  stage.fail = undefined;
  expect(await answer).toEqual([1, 2]);
});

test("ends after a batch that fails permanently", async () => {
  const { stage, next, answers, add, ended } = makeStage();
  await next();
  stage.fail = new PlinthError("FORBIDDEN", "No.");
  add(1);
  expect((await answers.next()).value.errors).toHaveLength(1);
  expect(await answers.next()).toMatchObject({ done: true });
  expect(ended()).toBe(1);
});

test("reads after a gap", async () => {
  const { stage, next } = makeStage();
  await next();
  const answer = next();
  stage.log.push(1);
  stage.hub.announceGap();
  expect(await answer).toEqual([1]);
});

test("sends only NOT_FOUND to a subscriber that loses access", async () => {
  const { stage, next, answers, add, ended } = makeStage();
  await next();
  stage.mayRead = false;
  add(1);
  await expect(answers.next()).rejects.toMatchObject({ code: "NOT_FOUND" });
  expect(ended()).toBe(1);
  expect(stage.hub.size).toBe(0);
});

test("scans invisible entries once and misses no later entries", async () => {
  const { stage, next, add } = makeStage();
  await next();
  const answer = next();
  stage.hidden = 6;
  for (let n = 1; n <= 6; n++) {
    add(n);
    await until(() => stage.batches > n);
  }
  add(7);
  expect(await answer).toEqual([7]);
  expect(stage.afters.at(-1)).toBeGreaterThanOrEqual(5);
});

test("sends a state when it changes, at most once per interval", async () => {
  const { stage, next, add } = makeStage({ isLog: false, after: null, minIntervalMs: 100 });
  expect(await next()).toBe(0);
  const answer = next();
  for (let n = 1; n <= 20; n++) {
    add(n);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const first = (await answer) as number;
  const last = first === 20 ? first : await next();
  expect(last).toBe(20);
  expect(stage.batches).toBeLessThanOrEqual(3);
  const same = next();
  stage.hub.hear(`${TOPIC} 0`);
  await until(() => stage.batches >= 3);
  add(21);
  expect(await same).toBe(21);
});

test("releases everything when a subscription ends, also while it waits", async () => {
  const { stage, answers, next, ended } = makeStage();
  await next();
  expect(stage.hub.size).toBe(1);
  await answers.return?.();
  await answers.return?.();
  expect([stage.hub.size, ended()]).toEqual([0, 1]);
});

test("limits slots per socket and per account and releases them once", () => {
  const limits = new SubscriptionLimits({ perSocket: 2, perUser: 3 });
  const [a, b] = [{}, {}];
  const first = limits.take(a, "ada");
  expect(first).toBeDefined();
  expect(limits.take(a, "ada")).toBeDefined();
  expect(limits.take(a, "ada")).toBeUndefined();
  expect(limits.take(b, "ada")).toBeDefined();
  expect(limits.take(b, "ada")).toBeUndefined();
  expect(limits.take(b, "bob")).toBeDefined();
  first?.();
  first?.();
  expect(limits.take(a, "ada")).toBeDefined();
  expect(limits.take(a, "ada")).toBeUndefined();
});

test("ignores payloads in the hub that are not hints", () => {
  const hub = new Hub();
  const heard: [string, bigint][] = [];
  const forget = hub.add(TOPIC, {
    onHint: (topic, sequence) => heard.push([topic, sequence]),
    onGap: () => {},
  });
  for (const payload of [
    "",
    TOPIC,
    `${TOPIC} `,
    `${TOPIC} x`,
    `${TOPIC} 1 2`,
    ` ${TOPIC} 1`,
    `${TOPIC} ${"9".repeat(30)}`,
  ])
    hub.hear(payload);
  expect(heard).toEqual([]);
  hub.hear(`${TOPIC} 7`);
  hub.hear("room:2 8");
  expect(heard).toEqual([[TOPIC, 7n]]);
  forget();
  hub.hear(`${TOPIC} 9`);
  expect(heard).toHaveLength(1);
});
