// Writes the results, the index and the table of views in docs/analytics.md: npm run analytics
import "../../../src/support/graphile-env.ts";
import { writeFileSync } from "node:fs";
import { startTestServer } from "../../support/server.ts";
import { makeTemplate, removeAll, SETUP_VARIABLE } from "../../support/template.ts";
import { answerPage, PAGE, readPage } from "./answer.ts";
import { createDemoDatabase } from "./demo.ts";

const server = await startTestServer();
try {
  const setup = await makeTemplate(server);
  process.env[SETUP_VARIABLE] = JSON.stringify(setup);
  const db = await createDemoDatabase();
  writeFileSync(PAGE, await answerPage(readPage(), db));
  await db.drop();
  if (!server.isOurs) await removeAll(setup);
} finally {
  await server.stop();
}
