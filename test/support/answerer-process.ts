// Runs an answerer in a process of its own, which a test kills. Its options are one JSON argument.
import { startAnswerer } from "../../src/answerer/answerer.ts";
import { createLogger } from "../../src/request/logger.ts";

await startAnswerer({ ...JSON.parse(process.argv[2]!), logger: createLogger("silent") });
process.stdout.write("started\n");
