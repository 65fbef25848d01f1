// Opens the page of examples/conversation in two windows of a real Chromium, as two people who talk to each other and to
// the AI; cuts the network in the middle.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { startAiMember } from "../../examples/conversation/ai-member.ts";
import { startModel } from "../../examples/conversation/model.ts";
import { servePage } from "../../examples/conversation/serve-page.ts";
import { createPlinth } from "../../src/index.ts";
import { check, openDevTools, startChromium } from "./chromium.ts";

await using parts = new AsyncDisposableStack();
const folder = await mkdtemp(join(tmpdir(), "plinth-browser-"));
parts.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));

const model = await startModel();
parts.defer(() => model.close());
const named = { url: model.url, name: "echo" };
// The port comes first, because the page's origin must be allowed.
const probe = await servePage({ port: 0, plinthUrl: "", model: named });
const origin = probe.url;
await probe.close();
const plinth = await createPlinth({
  settings: {
    dataDirectory: join(folder, "data"),
    logLevel: "silent",
    http: { port: 0, corsOrigins: [origin] },
  },
  demo: false,
});
parts.defer(() => plinth.close());
const site = await servePage({ port: Number(new URL(origin).port), plinthUrl: plinth.url, model: named });
parts.defer(() => site.close());
const aiMember = startAiMember({ serviceUrl: plinth.database.url("service"), model: named });
parts.defer(() => aiMember.close());

const PASSWORD = "correct horse battery staple";
const ids: string[] = [];
for (const username of ["ada", "bob"]) {
  const answer = await fetch(`${plinth.url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      query: "mutation ($input: RegisterInput!) { register(input: $input) { user { id } } }",
      variables: { input: { username, email: `${username}@example.org`, password: PASSWORD } },
    }),
  });
  const body = (await answer.json()) as { data: { register: { user: { id: string } } } };
  ids.push(body.data.register.user.id);
}
const owner = new pg.Client({ connectionString: plinth.database.url("owner") });
await owner.connect();
await owner.query("select private.grant_tokens($1, 1000000, 'purchase', null, 100, null, null, 'enough')", [
  ids[0],
]);
await owner.query(
  `with p as (insert into llm.model_providers (name) values ('p') returning id)
   insert into llm.models (provider_id, name, display_name, is_public) select id, 'm', 'M', true from p`,
);
await owner.end();

type Page = Awaited<ReturnType<typeof openDevTools>>;
async function openPage(username: string): Promise<Page> {
  const chromium = await startChromium(join(folder, `profile-${username}`));
  parts.defer(() => chromium.stop());
  const page = await openDevTools(chromium.pageUrl);
  parts.defer(() => page.close());
  await page.send("Page.enable");
  await page.send("Network.enable");
  await page.send("Page.navigate", { url: origin });
  await sleep(1_500);
  await submit(page, "sign-in", { identifier: username, password: PASSWORD });
  await shows(page, "state", "Connected.");
  return page;
}
const submit = (page: Page, form: string, values: Record<string, string>) =>
  page.run(
    `(id, values) => {
      const form = document.getElementById(id);
      for (const [name, value] of Object.entries(values)) form.elements[name].value = value;
      form.requestSubmit();
    }`,
    form,
    values,
  );
const textOf = (page: Page, id: string): Promise<string> =>
  page.run("(id) => document.getElementById(id).innerText", id);
const linesOf = async (page: Page, id: string) => (await textOf(page, id)).split("\n").filter(Boolean);

async function shows(page: Page, id: string, text: string): Promise<boolean> {
  for (let tries = 0; tries < 200; tries++) {
    if ((await textOf(page, id)).includes(text)) return true;
    await sleep(100);
  }
  return false;
}

const ada = await openPage("ada");
const bob = await openPage("bob");
await submit(ada, "enter", {});
for (let tries = 0; tries < 100 && !(await textOf(ada, "room-id")); tries++) await sleep(100);
await submit(bob, "enter", { room: await textOf(ada, "room-id") });
check("the other one's joining is seen", await shows(ada, "events", "bob: (has joined)"));

await bob.run(
  `() => document.querySelector("#say input").dispatchEvent(new Event("input", { bubbles: true }))`,
);
check("it is seen who is writing", await shows(ada, "typing", "bob is writing"));
await submit(bob, "say", { text: "Hello, AI!" });
check("a message is seen by the other", await shows(ada, "events", "bob: Hello, AI!"));
check(
  "the AI answers both",
  (await shows(ada, "events", "AI: You said: bob: Hello, AI!")) &&
    (await shows(bob, "events", "AI: You said")),
);

const offline = { latency: 0, downloadThroughput: -1, uploadThroughput: -1 };
await ada.send("Network.emulateNetworkConditions", { offline: true, ...offline });
await submit(bob, "say", { text: "Is anybody there?" });
await submit(ada, "say", { text: "I was away." });
await sleep(2_000);
await ada.send("Network.emulateNetworkConditions", { offline: false, ...offline });
check(
  "what was said while the network was away is seen",
  await shows(ada, "events", "bob: Is anybody there?"),
);
check("and what was written meanwhile arrives", await shows(bob, "events", "ada: I was away."));
check(
  "the AI goes on",
  (await shows(ada, "events", "said: ada: I was away.")) &&
    (await shows(bob, "events", "said: ada: I was away.")),
);
const [adas, bobs] = [await linesOf(ada, "events"), await linesOf(bob, "events")];
check(
  "both have seen the same, once and in one order",
  bobs.join("\n").endsWith(adas.slice(-6).join("\n")) && new Set(adas).size === adas.length,
);

await submit(ada, "ask", { text: "And in private?" });
check("an answer streams into a chat", await shows(ada, "answers", "AI: You said: And in private?"));
check("to its end", await shows(ada, "answers", "of what I was shown."));
