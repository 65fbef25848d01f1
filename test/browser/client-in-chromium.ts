// Opens plinth/client, bundled as an application does, in three tabs of a real Chromium: counts the refreshes of tabs that
// start at once, restarts the server while an answer streams, and signs in with a passkey.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { build } from "esbuild";
import pg from "pg";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { freePorts } from "../support/ports.ts";
import { becomesTrue, check, type InChromium, openTab, type Tab } from "./chromium.ts";
import { openPagesServer } from "./pages-server.ts";

export async function useClient({ browser, parts }: InChromium): Promise<void> {
  const { db, start } = await openPagesServer(parts);

  const { outputFiles } = await build({
    entryPoints: [join(PACKAGE_ROOT, "client/index.ts")],
    bundle: true,
    write: false,
    format: "iife",
    globalName: "plinth",
  });
  const page = `<!doctype html><title>App</title><script>${outputFiles[0]!.text}</script>`;
  const site = createServer((_request, response) =>
    response.setHeader("content-type", "text/html").end(page),
  );
  await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
  parts.defer(() => void site.close());
  const origin = `http://localhost:${(site.address() as AddressInfo).port}`;

  const startPlinth = (port: number) =>
    start({
      settings: {
        http: { port, corsOrigins: [origin] },
        models: { answerer: false }, // The page itself writes the answer.
        app: { name: "Plinth", rpId: "localhost", origins: [origin] },
      },
      demo: false,
    });
  const [plinthPort] = (await freePorts(1)) as [number];
  let plinth = await startPlinth(plinthPort);
  parts.defer(() => plinth.close());
  const { url } = plinth;

  const context = await browser.newContext();
  parts.defer(() => context.close());

  /** Opens a tab with a client that counts its refreshes. */
  async function openClient(): Promise<Tab> {
    const tab = await openTab(context);
    await load(tab);
    return tab;
  }
  /** Loads the page anew, so that its client has no access token. */
  async function load(tab: Tab): Promise<void> {
    // The old page must not pass for the new one.
    await tab.run("() => { window.plinth = undefined; }").catch(() => {});
    await tab.send("Page.navigate", { url: origin });
    await becomesTrue(() => tab.run("() => typeof plinth === 'object'"));
    await tab.run(
      `(url) => {
      window.refreshes = 0;
      window.client = plinth.createClient({
        url,
        fetch: (input, init) => {
          if (init.body.includes("mutation Refresh(")) window.refreshes++;
          return fetch(input, init);
        },
      });
    }`,
      url,
    );
  }
  const ME = `() => client.request("{ currentUser { username } }").then(({ currentUser }) => currentUser?.username)`;

  const first = await openClient();
  await first.run(
    `() => client.auth.register({ username: "ada", password: "correct horse battery staple" })`,
  );
  check("a new account is signed in", (await first.run(ME)) === "ada");

  await first.run("() => client.close()");
  const tabs = [await openClient(), await openClient()];
  // A new process of the browser may see the storage late.
  for (const tab of tabs) await becomesTrue(() => tab.run("() => localStorage.length > 0"));
  const names = await Promise.all(tabs.map((tab) => tab.run(ME)));
  check("two tabs without an access token are signed in from the storage", names.join() === "ada,ada");
  check(
    "and refresh once for both",
    await becomesTrue(async () => {
      const refreshes = await Promise.all(tabs.map((tab) => tab.run("() => window.refreshes")));
      if (refreshes[0] + refreshes[1] === 1) return true;
      // A tab that a busy machine keeps from answering for 300 ms is not waited for.
      for (const tab of tabs) await load(tab);
      await Promise.all(tabs.map((tab) => tab.run(ME)));
      return false;
    }, 10),
  );

  const [ada, other] = tabs as [Tab, Tab];
  const asOwner = async (sql: string, params: unknown[] = []) => {
    const owner = new pg.Client({ connectionString: db.url("owner") });
    await owner.connect();
    try {
      return (await owner.query(sql, params)).rows;
    } finally {
      await owner.end();
    }
  };
  await asOwner(
    "select private.grant_tokens(id, 1000000, 'purchase', null, 100, null, null, 'enough') from identity.users",
  );
  const [{ id: modelId }] = await asOwner(
    `with p as (insert into llm.model_providers (name) values ('p') returning id)
   insert into llm.models (provider_id, name, display_name, is_public) select id, 'm', 'M', true from p returning id`,
  );
  const messageId = await ada.run(
    `async (modelId) => {
    window.text = "";
    window.answer = client.chat.ask({ chatId: await client.chat.create(), content: "Why?", modelId });
    (async () => {
      for await (const piece of answer) window.text += piece.content;
      window.text += "|";
    })();
    return answer.id;
  }`,
    modelId,
  );
  await asOwner("update private.turns set writer = 'client' where message_id = $1", [messageId]);
  const APPEND = `(messageId, firstSequence, contents) => client.request(
  "mutation ($input: AppendDeltasInput!) { appendDeltas(input: $input) { lastSequence } }",
  { input: { messageId, firstSequence, contents } },
)`;
  const shows = (tab: Tab, script: string, value: string): Promise<boolean> =>
    becomesTrue(async () => (await tab.run(script)) === value);
  await other.run(APPEND, messageId, 1, ["one ", "two "]);
  check("an answer streams into the page", await shows(ada, "() => window.text", "one two "));
  // The writer stays away for as long as the restart takes, which may be longer than its lease.
  await asOwner(
    "update private.turns set lease_expires_at = now() + interval '1 hour' where message_id = $1",
    [messageId],
  );
  await plinth.close();
  plinth = await startPlinth(plinthPort);
  await other.run(APPEND, messageId, 3, ["three ", "four"]);
  await other.run(
    `(messageId) => client.request(
    "mutation ($input: FinishTurnInput!) { finishTurn(input: $input) { message { id } } }", { input: { messageId } },
  )`,
    messageId,
  );
  check(
    "and continues after a restart of the server, without a lost or doubled piece",
    await shows(ada, "() => window.text", "one two three four|"),
  );

  await ada.send("Page.bringToFront");
  await becomesTrue(() => ada.run("() => document.hasFocus()")); // A page without focus may not use passkeys.
  await ada.send("WebAuthn.enable");
  await ada.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      ...{ protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true },
      ...{ isUserVerified: true, automaticPresenceSimulation: true },
    },
  });
  const codes = await ada.run(`() => client.auth.addPasskey({ name: "Key", passwordless: true })`);
  check("a passkey is added, with recovery codes", codes.length === 10);
  await ada.run(`() => client.auth.signOut()`);
  check(
    "signing out in one tab reaches the other",
    await shows(other, "() => client.session.current.status", "signed-out"),
  );
  const refreshesOfOther = (): Promise<number> => other.run("() => refreshes");
  check(
    "the passkey signs in alone, in the other tab, too, without a refresh there",
    await becomesTrue(async () => {
      const before = await refreshesOfOther();
      await ada.run(`() => client.auth.signInWithPasskey()`);
      check("the passkey signs in alone", (await ada.run(ME)) === "ada");
      if ((await shows(other, ME, "ada")) && (await refreshesOfOther()) === before) return true;
      // On a busy machine, the storage arrives before the message with the token.
      await ada.run(`() => client.auth.signOut()`);
      await shows(other, "() => client.session.current.status", "signed-out");
      return false;
    }, 10),
  );
  const proof = await ada.run(
    `async () => {
    await client.auth.signOut();
    const result = await client.auth.signIn({ identifier: "ada", password: "correct horse battery staple" });
    await result.complete({ passkey: true });
    await client.auth.reauthenticate({ passkey: true });
    return client.session.current.status;
  }`,
  );
  check("it is the second factor, and confirms the user's identity", proof === "signed-in");
}
