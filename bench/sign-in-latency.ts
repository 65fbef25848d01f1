// Password hashing must not starve other requests. Measures the 99th percentile of another endpoint while eight clients sign in
// without pause, as a ratio to its idle value in the same run. Target: under 5.
import { graphql, percentile, startPlinth } from "./support.ts";

const SECONDS = 6;
const CLIENTS = 8;
const PASSWORD = "correct horse battery staple";
const REGISTER = "mutation ($input: RegisterInput!) { register(input: $input) { accessToken } }";
const LOGIN = "mutation ($input: LoginInput!) { login(input: $input) { accessToken } }";

/** Returns the latencies in ms of one request every few ms, one at a time, for SECONDS seconds. */
async function probe(url: string): Promise<number[]> {
  const latencies: number[] = [];
  const end = performance.now() + SECONDS * 1000;
  while (performance.now() < end) {
    const started = performance.now();
    await graphql(url, "{ __typename }");
    latencies.push(performance.now() - started);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
  return latencies;
}

const plinth = await startPlinth();
try {
  for (let i = 0; i < CLIENTS; i++) {
    const input = { username: `bench${i}`, email: `bench${i}@example.com`, password: PASSWORD };
    await graphql(plinth.url, REGISTER, { input });
  }
  await probe(plinth.url); // warm-up
  const idle = await probe(plinth.url);

  let signedIn = 0;
  let stop = false;
  const clients = Array.from({ length: CLIENTS }, async (_, i) => {
    while (!stop) {
      await graphql(plinth.url, LOGIN, { input: { identifier: `bench${i}`, password: PASSWORD } });
      signedIn++;
    }
  });
  const busy = await probe(plinth.url);
  stop = true;
  await Promise.all(clients);

  const row = (name: string, values: number[]) =>
    console.log(
      `${name.padEnd(28)} p50 ${percentile(values, 0.5).toFixed(2)} ms  p99 ${percentile(values, 0.99).toFixed(2)} ms  (${values.length} requests)`,
    );
  row("idle", idle);
  row(`${CLIENTS} clients signing in`, busy);
  console.log(`sign-ins per second          ${(signedIn / SECONDS).toFixed(0)}`);
  console.log(
    `ratio of the 99th percentiles ${(percentile(busy, 0.99) / percentile(idle, 0.99)).toFixed(2)} (target: under 5)`,
  );
} finally {
  await plinth.stop();
}
