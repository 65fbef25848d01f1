import { expect, test } from "@jest/globals";
import { pino } from "pino";
import { ListenConnection } from "../../src/request/listen-connection.ts";
import { until } from "../support/api.ts";
import { createTestDatabase, rowsAs } from "../support/database.ts";

test.each([
  ["not logged if the first attempts of the start fail", 2, false],
  ["logged if more attempts of the start fail", 3, true],
])("a lost probe is %s", async (_title, failures, isLogged) => {
  const db = await createTestDatabase();
  const lines: { level: number; msg: string }[] = [];
  const asService = rowsAs("service", () => db);
  let probes = 0;
  let ofStart = 0;
  const connection = new ListenConnection({
    url: db.url("service"),
    applicationName: "plinth-test",
    channel: "plinth_test",
    purpose: "a test",
    logger: pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) }),
    notifier: {
      async notify(channel, payload) {
        if (++probes <= failures) throw new Error("The probe was lost.");
        await asService("select pg_notify($1, $2)", [channel, payload]);
      },
    },
    // No probe is lost because the machine is busy.
    patienceMs: 600_000,
    onListening: () => {
      ofStart = probes;
    },
    onNotification: () => {},
  });
  try {
    await connection.start();
    await until(async () => connection.isListening);
    expect(ofStart).toBe(failures + 1);
    expect(lines.map(({ msg }) => msg)).toEqual(
      isLogged ? ["not listening for a test", "listening for a test again"] : [],
    );
  } finally {
    await connection.close();
    await db.drop();
  }
});
