import { expect, test } from "@jest/globals";
import { askTogether } from "../../src/support/ask-together.ts";

/** Questions whose answers the test gives, in the order in which they were asked. */
function openQuestions() {
  const asked: PromiseWithResolvers<string>[] = [];
  const ask = askTogether(() => {
    const question = Promise.withResolvers<string>();
    asked.push(question);
    return question.promise;
  });
  return { ask, asked };
}

test("calls during a question share the next one, which begins when the first is answered", async () => {
  const { ask, asked } = openQuestions();
  const [first, second, third] = [ask(), ask(), ask()];
  expect(asked).toHaveLength(1);
  asked[0]!.resolve("old");
  expect(await first).toBe("old");
  expect(asked).toHaveLength(2);
  asked[1]!.resolve("new");
  expect(await Promise.all([second, third])).toEqual(["new", "new"]);
  void ask();
  expect(asked).toHaveLength(3);
});

test("a failed question fails its callers only", async () => {
  const { ask, asked } = openQuestions();
  const [first, second] = [ask(), ask()];
  asked[0]!.reject(new Error("lost"));
  await expect(first).rejects.toThrow("lost");
  asked[1]!.resolve("new");
  expect(await second).toBe("new");
});
