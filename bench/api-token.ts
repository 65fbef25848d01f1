// Recognizing an API token must not cost a query. Measures the time of a request with an API token, as a ratio to the same request
// with an access token in the same run. Target: at most 1.1. The two alternate, so that a busy machine slows both.
import { graphql, percentile, startPlinth } from "./support.ts";

const ROUNDS = 40;
const REQUESTS_PER_ROUND = 50;
const PASSWORD = "correct horse battery staple";
const REGISTER = "mutation ($input: RegisterInput!) { register(input: $input) { accessToken } }";
const CREATE = "mutation ($input: CreateApiTokenInput!) { createApiToken(input: $input) { token } }";

/** Returns the latencies in ms of sequential requests. */
async function measure(url: string, token: string): Promise<number[]> {
  const latencies: number[] = [];
  for (let i = 0; i < REQUESTS_PER_ROUND; i++) {
    const started = performance.now();
    await graphql(url, "{ currentUser { id } }", {}, token);
    latencies.push(performance.now() - started);
  }
  return latencies;
}

const plinth = await startPlinth();
try {
  const input = { username: "bench", email: "bench@example.com", password: PASSWORD };
  const registered = (await graphql(plinth.url, REGISTER, { input })).register as { accessToken: string };
  const created = await graphql(
    plinth.url,
    CREATE,
    { input: { name: "bench", scopes: ["read", "write"] } },
    registered.accessToken,
  );
  const tokens = {
    "access token": registered.accessToken,
    "API token": (created.createApiToken as { token: string }).token,
  };
  for (const token of Object.values(tokens)) for (let i = 0; i < 10; i++) await measure(plinth.url, token); // warm-up

  const latencies: Record<string, number[]> = { "access token": [], "API token": [] };
  for (let i = 0; i < ROUNDS; i++)
    for (const [name, token] of i % 2 ? Object.entries(tokens) : Object.entries(tokens).toReversed())
      latencies[name]!.push(...(await measure(plinth.url, token)));

  const median = (name: string) => percentile(latencies[name]!, 0.5);
  for (const [name, values] of Object.entries(latencies))
    console.log(
      `${name.padEnd(14)} p50 ${median(name).toFixed(2)} ms  p99 ${percentile(values, 0.99).toFixed(2)} ms  (${values.length} requests)`,
    );
  console.log(
    `ratio of the medians ${(median("API token") / median("access token")).toFixed(2)} (target: at most 1.1)`,
  );
} finally {
  await plinth.stop();
}
