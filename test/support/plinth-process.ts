import { openEmbedded } from "../../src/database/embedded/server.ts";

/*
 * A process that holds an embedded server, for tests that kill it. Prints a line when the server is ready and another
 * when the server dies; shuts down cleanly at SIGTERM.
 */
const [dataDirectory] = process.argv.slice(2);
const server = await openEmbedded({
  dataDirectory: dataDirectory!,
  rolePrefix: "plinth",
  embeddedPort: undefined,
});
process.stdout.write("ready\n");
void server.died.then((sentence) => process.stdout.write(`died: ${sentence}\n`));
const alive = setInterval(() => {}, 60_000);
process.once("SIGTERM", async () => {
  clearInterval(alive);
  await server.close();
});
