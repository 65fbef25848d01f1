import { withNewClient } from "./client.ts";
import { testSetup } from "./test-database.ts";

/**
 * Runs `use` while no other test process replaces the folder `dist` or reads it: the build of the package removes it, and the check-list of a
 * release reads all files of the package.
 */
export function withDist<T>(use: () => Promise<T>): Promise<T> {
  return withNewClient(testSetup().adminUrl, async (client) => {
    await client.query("select pg_advisory_lock(hashtext('dist of the checkout'))");
    return use();
  });
}
