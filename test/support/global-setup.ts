import "../../src/support/graphile-env.ts"; // before any test file is linked, which loads PostGraphile before it is evaluated
import { useMemoryForTemporaryFiles } from "./memory-folder.ts";
import { startTestServer } from "./server.ts";
import { makeTemplate, removeAll, SETUP_VARIABLE } from "./template.ts";

/** Set for global-teardown.ts, which jest runs in the same process. */
export const TEARDOWN = Symbol.for("plinth.tests.teardown");

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/** Starts the server and creates the template before the first test file; nothing of it survives the run. */
export default async function globalSetup(): Promise<void> {
  const memory = await useMemoryForTemporaryFiles();
  const server = await startTestServer();
  let tearingDown: Promise<void> | undefined;
  let cleanUp = () => server.stop();
  const tearDown = () => {
    tearingDown ??= cleanUp().finally(() => memory.remove());
    return tearingDown;
  };
  Object.assign(globalThis, { [TEARDOWN]: tearDown });
  for (const [signal, number] of Object.entries(SIGNALS))
    process.once(signal, () => {
      void tearDown().finally(() => process.exit(128 + number));
    });

  try {
    const setup = await makeTemplate(server);
    if (!server.isOurs) cleanUp = () => removeAll(setup);
    // Test processes inherit the environment.
    process.env[SETUP_VARIABLE] = JSON.stringify(setup);
  } catch (error) {
    await tearDown();
    throw error;
  }
}
