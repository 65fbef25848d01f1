import { ignoreClosedPipes } from "./output.ts";
import { run } from "./run.ts";

ignoreClosedPipes();
process.exitCode = await run(process.argv.slice(2));
