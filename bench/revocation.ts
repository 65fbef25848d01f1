// After a logout on one server, another server must reject the access token within 100 ms. Two server processes on one database;
// measures the time from the response to the logout until the other server rejects the token.
import { graphql, percentile, startPlinth } from "./support.ts";

const ROUNDS = 50;
const PASSWORD = "correct horse battery staple";

const plinth = await startPlinth();
try {
  const other = await plinth.serve();
  const input = { username: "bench", email: "bench@example.com", password: PASSWORD };
  await graphql(plinth.url, "mutation ($input: RegisterInput!) { register(input: $input) { accessToken } }", {
    input,
  });
  const times: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const login = "mutation ($input: LoginInput!) { login(input: $input) { accessToken } }";
    const data = await graphql(plinth.url, login, { input: { identifier: "bench", password: PASSWORD } });
    const { accessToken } = data.login as { accessToken: string };
    const asks = () => graphql(other, "{ currentUser { id } }", {}, accessToken);
    await asks();
    await graphql(plinth.url, "mutation { logout(input: {}) { result } }", {}, accessToken);
    const started = performance.now();
    while (
      await asks().then(
        () => true,
        () => false,
      )
    );
    times.push(performance.now() - started);
  }
  console.log(
    `logout until rejected elsewhere: p50 ${percentile(times, 0.5).toFixed(1)} ms, slowest of ${ROUNDS} ${Math.max(...times).toFixed(1)} ms (target: under 100)`,
  );
} finally {
  await plinth.stop();
}
