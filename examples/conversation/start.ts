// Runs the example: a stand-in for a model, the AI member that uses it, and the page. See README.md.
import { startAiMember } from "./ai-member.ts";
import { startModel } from "./model.ts";
import { servePage } from "./serve-page.ts";

const {
  SERVICE_URL,
  PLINTH_URL = "http://127.0.0.1:5678",
  MODEL_URL,
  MODEL_NAME = "echo",
  MODEL_KEY,
} = process.env;
if (!SERVICE_URL) {
  console.error('Set the database URL: SERVICE_URL="$(npx plinth db url --role service)"');
  process.exit(1);
}
const model = { url: MODEL_URL ?? (await startModel()).url, name: MODEL_NAME, apiKey: MODEL_KEY };
startAiMember({ serviceUrl: SERVICE_URL, model, log: (text) => console.log(`AI member: ${text}`) });
const { url } = await servePage({ port: 7000, plinthUrl: PLINTH_URL, model, serviceUrl: SERVICE_URL });
console.log(
  `Open ${url} in two windows and sign in as two people. Create a room in one window and enter it in the other.`,
);
