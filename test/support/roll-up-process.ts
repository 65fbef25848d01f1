// Runs the job roll-up-days once in a process of its own, which a test kills. Prints each day that it has summed.
import pg from "pg";
import { rollUpDays } from "../../src/jobs/roll-up-days.ts";

const client = new pg.Client(process.argv[2]!);
await client.connect();
await rollUpDays({
  signal: new AbortController().signal,
  async query(sql, values) {
    const { rows } = await client.query(sql, values);
    process.stdout.write(`${JSON.stringify(rows[0])}\n`);
    return rows;
  },
});
await client.end();
