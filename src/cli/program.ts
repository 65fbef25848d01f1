import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command, Help, type Option } from "commander";
import { PACKAGE_ROOT } from "../support/paths.ts";
import { addAccess } from "./commands/access.ts";
import { addDb } from "./commands/db.ts";
import { addDocs } from "./commands/docs.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addDocuments } from "./commands/documents.ts";
import { addExplainAccess } from "./commands/explain-access.ts";
import { addExport } from "./commands/export.ts";
import { addImport } from "./commands/import.ts";
import { addJobs } from "./commands/jobs.ts";
import { addKeys } from "./commands/keys.ts";
import { addMigrate } from "./commands/migrate.ts";
import { addRollback } from "./commands/rollback.ts";
import { addSchema } from "./commands/schema.ts";
import { addServe } from "./commands/serve.ts";
import { addStart } from "./commands/start.ts";
import { addUser } from "./commands/user.ts";
import { addWork } from "./commands/work.ts";

const EPILOGUE = `
Settings come from environment variables (PLINTH_DATA, PLINTH_PORT, PLINTH_OWNER_URL, …); docs/settings.md lists them.
Without PLINTH_…_URL variables, the database is an embedded PostgreSQL with its data in .plinth/.

Results go to stdout (one JSON document with --json; the log of serve and work), everything else to stderr.

Exit codes:
    0  success
    1  a failure or a finding that you can fix; the message says how
    2  invalid usage
   70  a bug in Plinth
  130  stopped by Ctrl-C (128 + the signal's number)

Example:
  $ plinth start                    a database, its API and its jobs, with demo data
  $ plinth start --help             more about one command`;

/** Marks required options. */
const HELP = {
  optionDescription(option: Option): string {
    const text = Help.prototype.optionDescription(option);
    return option.mandatory ? `${text} (required)` : text;
  },
};

/**
 * Builds the command line. Commands load their modules when they run, so that `--help` is fast and needs neither settings nor
 * a database.
 */
export function buildProgram(): Command {
  const program = new Command("plinth")
    .description(
      "The database half of an AI product: migrations, row-level security, a GraphQL API, and jobs.",
    )
    .version(packageVersion(), "-V, --version", "print the version")
    .option("--config <file>", "file that exports your application (default: plinth.config.ts, .js or .mjs)")
    // The setting, so that one place decides.
    .on("option:config", (file: string) => {
      process.env.PLINTH_CONFIG = file;
    })
    .helpOption("-h, --help", "print help")
    .helpCommand("help [command]", "print help for a command")
    .addHelpText("after", EPILOGUE)
    .showHelpAfterError("(run with --help for usage)")
    .configureHelp(HELP)
    .exitOverride();
  for (const add of [
    addStart,
    addServe,
    addWork,
    addJobs,
    addMigrate,
    addRollback,
    addDb,
    addUser,
    addImport,
    addExport,
    addDocuments,
    addAccess,
    addExplainAccess,
    addKeys,
    addSchema,
    addDocs,
    addDoctor,
  ])
    add(program);
  return program;
}

function packageVersion(): string {
  return JSON.parse(readFileSync(join(PACKAGE_ROOT, "package.json"), "utf8")).version;
}
