// Regenerates the access contract: npm run contract
import "../../src/support/graphile-env.ts";
import { writeFileSync } from "node:fs";
import { differences } from "../../src/access-contract/contract.ts";
import { CONTRACT_FILE, CONTRACT_PAGE, readCommitted } from "../support/contract/files.ts";
import { generateContract } from "../support/contract/generate.ts";
import { renderContract } from "../support/contract/markdown.ts";
import { startTestServer } from "../support/server.ts";
import { makeTemplate, removeAll, SETUP_VARIABLE } from "../support/template.ts";

const server = await startTestServer();
try {
  const setup = await makeTemplate(server);
  process.env[SETUP_VARIABLE] = JSON.stringify(setup);
  const before = readCommitted();
  const after = await generateContract();
  writeFileSync(CONTRACT_FILE, after);
  writeFileSync(CONTRACT_PAGE, renderContract(after));
  const changes = before === undefined ? [] : differences(before, after);
  console.log(changes.length === 0 ? "Access is unchanged." : changes.join("\n"));
  if (!server.isOurs) await removeAll(setup);
} finally {
  await server.stop();
}
