// Opens examples/web-chat in two windows of a real Chromium, as two people: a chat with a model, a shared room, memories,
// the balance and a second factor; the network is cut while an answer streams.
import { writeFile } from "node:fs/promises";
import { Secret, TOTP } from "otpauth";
import pg from "pg";
import { createClient, memoryStorage } from "../../client/index.ts";
import { serveWebChat } from "../../examples/web-chat/serve.ts";
import { startFakeModel } from "../../src/answerer/fake-model.ts";
import { freePorts } from "../support/ports.ts";
import { wrongCode } from "../support/totp.ts";
import { becomesTrue, check, type InChromium, openTab, type Tab } from "./chromium.ts";
import { cuttableNetwork } from "./cuttable-network.ts";
import { openPagesServer } from "./pages-server.ts";

export async function useWebChat({ browser, parts }: InChromium): Promise<void> {
  const { db, start } = await openPagesServer(parts);

  const numbers = Array.from({ length: 6_000 }, (_, index) => index + 1).join(" ");
  const model = await startFakeModel({
    // So slow that the long answer is still being written after everything that happens meanwhile.
    wordMs: 60,
    answer: (messages) => {
      const [question = "", system] = ["user", "system"].map(
        (role) => messages.findLast((message) => message.role === role)?.content ?? "nothing",
      );
      if (question === "Count.") return numbers;
      if (question.includes("dinner")) return "Soup, and the bread from this morning. Bob sets the table.";
      if (question.includes("chairs")) return "Two more chairs will do.";
      return `You said: ${question} I know: ${system}.`;
    },
  });
  parts.defer(() => model.close());
  // The page's origin must be allowed, so its port comes first.
  const [sitePort] = (await freePorts(1)) as [number];
  const probe = await serveWebChat({ plinthUrl: "http://127.0.0.1", port: sitePort });
  const origin = probe.url;
  await probe.close();
  const plinth = await start({
    settings: {
      http: { port: 0, corsOrigins: [origin] },
      models: { url: model.url, name: "Echo", answerer: true },
    },
    demo: false,
  });
  parts.defer(() => plinth.close());
  const network = await cuttableNetwork(new URL(plinth.url));
  parts.defer(() => network.cut());
  const site = await serveWebChat({ plinthUrl: network.url, port: sitePort });
  parts.defer(() => site.close());

  const PASSWORD = "correct horse battery staple";

  async function openPage(): Promise<Tab> {
    const context = await browser.newContext({ viewport: { width: 1000, height: 640 } });
    parts.defer(() => context.close());
    const page = await openTab(context);
    await page.page.addInitScript({
      content: `window.violations = [];
      addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective + " " + event.blockedURI));`,
    });
    await page.send("Page.navigate", { url: origin });
    return page;
  }

  /** Waits until a function of the page, given as text, returns true. */
  const becomes = (page: Tab, script: string, ...args: unknown[]): Promise<boolean> =>
    becomesTrue(() => page.run(script, ...args));
  const shows = (page: Tab, selector: string, text: string) =>
    becomes(
      page,
      `(selector, text) => [...document.querySelectorAll(selector)].some((each) => each.innerText.includes(text))`,
      selector,
      text,
    );
  const lacks = (page: Tab, selector: string) =>
    becomes(page, `(selector) => !document.querySelector(selector)`, selector);
  async function type(page: Tab, selector: string, text: string): Promise<void> {
    await becomes(page, `(selector) => document.querySelector(selector) !== null`, selector);
    await page.run(
      `(selector, text) => {
      const field = document.querySelector(selector);
      field.value = text;
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }`,
      selector,
      text,
    );
  }
  /** Clicks the button that has this text, once it is there. */
  async function click(page: Tab, text: string): Promise<void> {
    const isClicked = await becomes(
      page,
      `(text) => {
      const button = [...document.querySelectorAll("button, summary")].find((each) => each.innerText.includes(text));
      button?.click();
      return button !== undefined;
    }`,
      text,
    );
    if (!isClicked) throw new Error(`The page has no button ${text}.`);
  }
  async function send(page: Tab, text: string): Promise<void> {
    await type(page, ".composer textarea", text);
    await click(page, "Send");
  }
  async function signIn(page: Tab, username: string, button = "Sign in"): Promise<void> {
    await type(page, "input[name=identifier]", username);
    await type(page, "input[name=password]", PASSWORD);
    await click(page, button);
  }
  const balanceOf = (page: Tab): Promise<number> =>
    page.run(`() => Number(document.querySelector("#balance").innerText.replace(/\\D/g, ""))`);

  const ada = await openPage();
  const bob = await openPage();
  await signIn(ada, "ada", "Create an account");
  check("a new account is signed in", await shows(ada, "#plan", "free"));
  await signIn(bob, "bob", "Create an account");
  await shows(bob, "#plan", "free");

  const owner = new pg.Client({ connectionString: db.url("owner") });
  await owner.connect();
  await owner.query(
    "select private.grant_tokens(id, 1000000, 'purchase', null, 100, null, null, 'enough') from identity.users",
  );
  await owner.end();
  await ada.send("Page.reload");
  check(
    "a reload keeps the session, and shows the plan and the balance",
    (await shows(ada, "#balance", "tokens left")) && (await balanceOf(ada)) >= 1_000_000,
  );
  const atFirst = await balanceOf(ada);

  await type(ada, "#remember input", "I am allergic to peanuts.");
  await click(ada, "Remember");
  check("a memory is listed", await shows(ada, "#memories", "allergic to peanuts"));
  await click(ada, "New chat");
  check("the model can be chosen", await shows(ada, ".model option", "Echo"));
  await send(ada, "Which peanuts are sweet?");
  check(
    "a memory is recalled by the first question",
    await shows(ada, ".log .system", "allergic to peanuts"),
  );
  check(
    "the model knows it, and its answer is shown to the end",
    await shows(ada, ".log .ai", "You said: Which peanuts are sweet? I know: What you know about the user:"),
  );
  check("the tokens of the answer are shown", await shows(ada, ".log .ai small", "tokens"));
  check(
    "and leave the balance",
    await becomes(
      ada,
      `(first) => Number(document.querySelector("#balance").innerText.replace(/\\D/g, "")) < first`,
      atFirst,
    ),
  );
  check("the chat is named after its question", await shows(ada, "#chats", "Which peanuts"));

  await send(ada, "Count.");
  check("a long answer streams", await shows(ada, ".log .ai[aria-busy=true]", " 10 "));
  await network.cut();
  check("a lost connection is shown", await shows(ada, ".connection", "Reconnecting"));
  await network.restore();
  const seen: string = await ada.run(`() => [...document.querySelectorAll(".log .ai p")].at(-1).innerText`);
  check(
    "after it is back, the answer goes on",
    await becomes(
      ada,
      `(length) => [...document.querySelectorAll(".log .ai p")].at(-1).innerText.length > length + 20`,
      seen.length,
    ),
  );
  await click(ada, "Stop");
  check("it can be stopped", await shows(ada, ".log .ai small", "You stopped the answer."));
  const counted: string = await ada.run(
    `() => [...document.querySelectorAll(".log .ai p")].at(-1).innerText`,
  );
  check("without a lost or doubled piece", counted.length > 0 && numbers.startsWith(counted.trim()));

  await click(ada, "Find or create a room");
  await type(ada, "#create-room input", "Kitchen");
  await click(ada, "Create");
  check("a room is created", await shows(ada, "section h1", "Kitchen"));
  await click(bob, "Find or create a room");
  check("others find it", await shows(bob, "#public-rooms", "Kitchen"));
  await click(bob, "Kitchen");
  check(
    "a member sees who is typing",
    await becomesTrue(async () => {
      // Each announcement is valid for six seconds.
      await type(bob, ".composer textarea", "H");
      return ada.run(`() => document.querySelector(".typing").innerText.includes("bob is typing")`);
    }),
  );
  await send(bob, "It smells good in here!");
  check("and the message", await shows(ada, ".log .other", "It smells good in here!"));
  check(
    "and not any longer that he is typing",
    await becomes(ada, `() => !document.querySelector(".typing").innerText`),
  );
  await send(ada, "Thank you! Stay for a while.");
  check("both ways", await shows(bob, ".log .other", "Stay for a while."));

  await click(ada, "Which peanuts");
  await send(bob, "I will.");
  await shows(bob, ".log .own", "I will.");
  await send(bob, "Shall I bring the chairs?");
  check("unread messages are counted elsewhere", await shows(ada, "#rooms .badge", "2"));
  check("also in the title", await becomes(ada, `() => document.title.startsWith("(2)")`));
  await click(ada, "Kitchen");
  check("a room that is open has none", await lacks(ada, "#rooms .badge"));
  await ada.run(`() => {
  const select = document.querySelector("section header select");
  select.value = [...select.options].at(-1).value;
  select.dispatchEvent(new Event("change", { bubbles: true }));
}`);
  await becomes(ada, `() => document.querySelector("section header select").value !== ""`);
  await send(bob, "What is for dinner?");
  check(
    "the AI of the room answers both",
    (await shows(ada, ".log .ai:not([aria-busy=true])", "sets the table.")) &&
      (await shows(bob, ".log .ai:not([aria-busy=true])", "sets the table.")),
  );
  check("its answers are read, too", await lacks(ada, "#rooms .badge"));
  if (process.env.SCREENSHOT) {
    const { data } = await ada.send("Page.captureScreenshot", { format: "png" });
    await writeFile(process.env.SCREENSHOT, Buffer.from(data, "base64"));
  }

  await network.cut();
  await shows(ada, ".connection", "Reconnecting");
  await post("bob", "Did you hear <img src=x onerror=alert(1)> that?");
  await send(ada, "I was away.");
  await network.restore();
  check(
    "messages of the time without a network are seen, as text",
    await shows(ada, ".log .other", "<img src=x"),
  );
  check("and those written meanwhile arrive", await shows(bob, ".log .other", "I was away."));

  await click(ada, "ada");
  await click(ada, "Add an authenticator app");
  await shows(ada, "#confirm-totp", "enter this key");
  const secret: string = await ada.run(`() => document.querySelector("#totp-secret").innerText`);
  const totp = new TOTP({ secret: Secret.fromBase32(secret) });
  await type(ada, "input[name=code]", totp.generate());
  await click(ada, "Confirm");
  check("an authenticator app is added, with recovery codes", await shows(ada, "#recovery-codes", "\n"));
  await click(ada, "Sign out");
  check("signing out shows the sign-in", await shows(ada, "[role=status]", "You are signed out."));
  await signIn(ada, "ada");
  await type(ada, "input[name=code]", wrongCode(totp));
  await click(ada, "Continue");
  check("a wrong code is rejected", await becomes(ada, `() => !document.querySelector(".notice").hidden`));
  // The code of the first confirmation works once; the next one is valid already.
  await type(ada, "input[name=code]", totp.generate({ timestamp: Date.now() + 30_000 }));
  await click(ada, "Continue");
  check("the code of the app signs in", await shows(ada, "#factors", "Authenticator app"));

  await askAs("bob", "mutation { logoutEverywhere(input: {}) { clientMutationId } }");
  check("the end of a session is shown", await shows(bob, "[role=status]", "Your session has ended."));
  const violations = await Promise.all([ada, bob].map((page) => page.run("() => violations")));
  check("the content security policy was never violated", violations.flat().length === 0);

  /** Signs in and asks outside the page, and past the network that is cut. */
  async function askAs(identifier: string, document: string, variables: object = {}): Promise<unknown> {
    const client = createClient({ url: plinth.url, storage: memoryStorage() });
    await client.auth.signIn({ identifier, password: PASSWORD });
    return client.request(document, { ...variables });
  }
  async function post(username: string, content: string): Promise<void> {
    const { myRooms } = (await askAs(username, "{ myRooms { nodes { id } } }")) as {
      myRooms: { nodes: { id: string }[] };
    };
    await askAs(
      username,
      `mutation ($room: UUID!, $content: String!) {
      postRoomMessage(input: { roomId: $room, content: $content }) { result { id } }
    }`,
      { room: myRooms.nodes[0]!.id, content },
    );
  }
}
