// Registers a passkey and signs in with it in a real Chromium, whose DevTools protocol provides a virtual authenticator:
// proves that browsers accept our options and that we accept their answers.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { becomesTrue, check, type InChromium, openTab } from "./chromium.ts";
import { openPagesServer } from "./pages-server.ts";

export async function usePasskeys({ browser, parts }: InChromium): Promise<void> {
  const { start } = await openPagesServer(parts);

  // The application's page is empty; the scripts below stand for the application's own. Its server also is a proxy in front of the
  // console, whose origin must be among the app's.
  const site = createServer((request, response) => {
    if (request.url !== "/") void forward(request, response).catch(() => response.destroy());
    else response.setHeader("content-type", "text/html").end("<!doctype html><title>App</title>");
  });

  async function forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "GET", url, headers } = request;
    const answer = await fetch(new URL(url!, plinth.url), {
      method,
      headers: Object.fromEntries(
        ["authorization", "content-type"].flatMap((name) =>
          headers[name] ? [[name, String(headers[name])]] : [],
        ),
      ),
      ...(method === "POST" ? { body: await text(request) } : {}),
    });
    for (const name of ["content-type", "content-security-policy"])
      if (answer.headers.has(name)) response.setHeader(name, answer.headers.get(name)!);
    response.writeHead(answer.status).end(await answer.text());
  }
  await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
  parts.defer(() => void site.close());
  const origin = `http://localhost:${(site.address() as AddressInfo).port}`;

  const plinth = await start({
    settings: {
      http: { port: 0, corsOrigins: [origin] },
      app: { name: "Plinth", rpId: "localhost", origins: [origin] },
    },
    demo: false,
  });
  parts.defer(() => plinth.close());

  const context = await browser.newContext();
  parts.defer(() => context.close());
  const page = await openTab(context);
  await page.send("Page.navigate", { url: origin });
  await becomesTrue(() =>
    page.run("(origin) => location.origin === origin && document.readyState === 'complete'", origin),
  );
  await page.send("WebAuthn.enable");
  const { authenticatorId } = await page.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      ...{ protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true },
      ...{ isUserVerified: true, automaticPresenceSimulation: true },
    },
  });

  /** Calls the API from the page, cross-origin, as an application does. */
  async function graphql(query: string, input: unknown = {}, token: string | null = null) {
    const script = `async (url, token, body) => {
    const authorization = token ? { authorization: "Bearer " + token } : {};
    const headers = { "content-type": "application/json", ...authorization };
    const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
    const { data, errors } = await answer.json();
    return data?.it ?? { errors };
  }`;
    return page.run(script, `${plinth.url}/graphql`, token, { query, variables: { input } });
  }
  const createInBrowser = (options: unknown) =>
    page.run(
      `async (options) => {
      const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
      return (await navigator.credentials.create({ publicKey })).toJSON();
    }`,
      options,
    );
  const getInBrowser = (options: unknown) =>
    page.run(
      `async (options) => {
      const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
      return (await navigator.credentials.get({ publicKey })).toJSON();
    }`,
      options,
    );
  const OF_SESSION = "accessToken user { username }";

  const password = "a sentence nobody guesses";
  const { accessToken } = await graphql(
    "mutation ($input: RegisterInput!) { it: register(input: $input) { accessToken } }",
    { username: "maria", password },
  );
  const creation = await graphql(
    "mutation ($input: StartPasskeyRegistrationInput!) { it: startPasskeyRegistration(input: $input) { options } }",
    ...[{ passwordless: true }, accessToken],
  );
  const added = await graphql(
    `mutation ($input: FinishPasskeyRegistrationInput!) {
     it: finishPasskeyRegistration(input: $input) { factor { kind } recoveryCodes }
   }`,
    ...[{ response: await createInBrowser(creation.options) }, accessToken],
  );
  check("a passkey made by the browser is added", added.factor?.kind === "passkey");
  check("and comes with recovery codes", added.recoveryCodes?.length === 10);

  const START =
    "mutation ($input: StartPasskeySignInInput!) { it: startPasskeySignIn(input: $input) { options } }";
  const FINISH = `mutation ($input: FinishPasskeySignInInput!) { it: finishPasskeySignIn(input: $input) { ${OF_SESSION} } }`;
  const alone = await getInBrowser((await graphql(START)).options);
  const signedIn = await graphql(FINISH, { response: alone });
  check("it signs in with nothing else", signedIn.user?.username === "maria");
  const replayed = await graphql(FINISH, { response: alone });
  check("its answer works once", replayed.errors?.[0].extensions.code === "INVALID_CREDENTIALS");

  const half = await graphql(
    "mutation ($input: LoginInput!) { it: login(input: $input) { accessToken challenge { token methods } } }",
    { identifier: "maria", password },
  );
  check("the password alone opens no session", half.accessToken === null && half.challenge !== null);
  const challengeToken = half.challenge?.token;
  const passkeyResponse = await getInBrowser((await graphql(START, { challengeToken })).options);
  const completed = await graphql(
    `mutation ($input: CompleteSignInInput!) { it: completeSignIn(input: $input) { ${OF_SESSION} } }`,
    { challengeToken, passkeyResponse },
  );
  check("it is the second factor after the password", completed.user?.username === "maria");

  /** Opens the console's sign-in page in the same window, and returns once it is there. */
  async function openConsole(): Promise<void> {
    await page.run("async () => sessionStorage.clear()");
    await page.send("Page.navigate", { url: `${origin}/console` });
    await shows("Use a passkey");
  }
  /** Waits until the page shows a text. */
  const shows = (wanted: string): Promise<boolean> =>
    becomesTrue(() => page.run("async (wanted) => document.body.innerText.includes(wanted)", wanted));
  const press = (label: string) =>
    page.run(
      "async (label) => [...document.querySelectorAll('button')].find((each) => each.textContent === label).click()",
      label,
    );

  // Maria has no permission for the console; it says so only to an account that has signed in.
  await openConsole();
  await press("Use a passkey");
  check("a passkey signs in to the console", await shows("You may not use this console"));

  await openConsole();
  await page.run(
    `async (values) => {
    for (const [name, value] of Object.entries(values)) document.querySelector('[name=' + name + ']').value = value;
    document.querySelector("form").requestSubmit();
  }`,
    { identifier: "maria", password },
  );
  check(
    "the console asks for a second factor after the password",
    await shows("Your account requires a second factor"),
  );
  await press("Use a passkey");
  check("a passkey is the console's second factor", await shows("You may not use this console"));
  await page.send("Page.navigate", { url: origin });
  await becomesTrue(() => page.run("() => document.title === 'App' && document.readyState === 'complete'"));

  await page.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
  const refused = await getInBrowser((await graphql(START)).options).catch((error: Error) => error);
  check("the browser itself refuses where nobody can be verified", refused instanceof Error);
  await page.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });

  const { credentials } = await page.send("WebAuthn.getCredentials", {
    authenticatorId,
  });
  check(
    "the authenticator holds one passkey, which counts",
    credentials.length === 1 && credentials[0]!.signCount > 0,
  );
  // A copy of the key whose counter stayed behind.
  await page.send("WebAuthn.removeCredential", {
    ...{ authenticatorId, credentialId: credentials[0]!.credentialId },
  });
  await page.send("WebAuthn.addCredential", {
    authenticatorId,
    credential: { ...credentials[0]!, signCount: 0 },
  });
  const cloned = await graphql(FINISH, { response: await getInBrowser((await graphql(START)).options) });
  check("a copied key is refused", cloned.errors?.[0].extensions.code === "INVALID_CREDENTIALS");
}
