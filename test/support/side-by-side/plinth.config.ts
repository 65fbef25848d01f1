import { defineApplication } from "../../../src/application/application.ts";

/** The application of test/deploy/side-by-side.test.ts: a job that leaves a row for each of its runs. */
export default defineApplication({
  jobs: [
    {
      name: "record-run",
      async run({ query, payload }) {
        await query("insert into side.runs (number) values ($1)", [payload]);
        return {};
      },
    },
  ],
});
