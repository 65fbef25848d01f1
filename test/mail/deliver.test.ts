import { expect, test } from "@jest/globals";
import { sendEmails } from "../../src/jobs/send-emails.ts";

test("reports a database failure only after all running deliveries have finished", async () => {
  const sending = Promise.withResolvers<void>();
  const finished: unknown[] = [];
  const delivering = sendEmails({
    signal: new AbortController().signal,
    async query(sql, values) {
      if (sql.includes("take_emails")) return [{ id: "marked too late" }, { id: "slow" }];
      finished.push(values[0]);
      if (values[0] === "slow") return [{ status: "sent" }];
      throw new Error("the database is gone");
    },
    mailer: {
      deliver: ({ id }) => (id === "slow" ? sending.promise : Promise.resolve()),
      close: async () => {},
    },
  });
  let isOver = false;
  const outcome = delivering.finally(() => {
    isOver = true;
  });
  outcome.catch(() => {});
  await new Promise((resolve) => setImmediate(resolve));
  expect({ isOver, finished }).toEqual({ isOver: false, finished: ["marked too late"] });
  sending.resolve();
  await expect(outcome).rejects.toThrow("the database is gone");
  expect(finished).toEqual(["marked too late", "slow"]);
});
