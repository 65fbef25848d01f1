import { Command, Help, type Option } from "commander";
import { PLINTH_VERSION } from "../support/version.ts";
import { addAccess } from "./commands/access.ts";
import { addAnswer } from "./commands/answer.ts";
import { addArchive } from "./commands/archive.ts";
import { addAudit } from "./commands/audit.ts";
import { addBackup } from "./commands/backup.ts";
import { addCompat } from "./commands/compat.ts";
import { addDb } from "./commands/db.ts";
import { addDocs } from "./commands/docs.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addDocuments } from "./commands/documents.ts";
import { addExplainAccess } from "./commands/explain-access.ts";
import { addExport } from "./commands/export.ts";
import { addImport } from "./commands/import.ts";
import { addInit } from "./commands/init.ts";
import { addJobs } from "./commands/jobs.ts";
import { addKeys } from "./commands/keys.ts";
import { addMaintenance } from "./commands/maintenance.ts";
import { addMemory } from "./commands/memory.ts";
import { addMigrate } from "./commands/migrate.ts";
import { addPrivacy } from "./commands/privacy.ts";
import { addProvider } from "./commands/provider.ts";
import { addRestore } from "./commands/restore.ts";
import { addRollback } from "./commands/rollback.ts";
import { addSchema } from "./commands/schema.ts";
import { addServe } from "./commands/serve.ts";
import { addStart } from "./commands/start.ts";
import { addUninstall } from "./commands/uninstall.ts";
import { addUpgrade } from "./commands/upgrade.ts";
import { addUser } from "./commands/user.ts";
import { addWork } from "./commands/work.ts";
import { firstStepOf } from "./progress/first-steps.ts";
import { startProgress } from "./progress/progress.ts";

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
    .version(PLINTH_VERSION, "-V, --version", "print the version")
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
    .hook("preAction", async (_program, command) => {
      const step = firstStepOf(command);
      if (step !== undefined) await startProgress(step);
    })
    .exitOverride();
  for (const add of [
    addInit,
    addStart,
    addServe,
    addWork,
    addJobs,
    addAnswer,
    addMigrate,
    addUpgrade,
    addRollback,
    addBackup,
    addRestore,
    addUninstall,
    addDb,
    addCompat,
    addArchive,
    addAudit,
    addMaintenance,
    addUser,
    addImport,
    addExport,
    addDocuments,
    addAccess,
    addExplainAccess,
    addKeys,
    addPrivacy,
    addProvider,
    addMemory,
    addSchema,
    addDocs,
    addDoctor,
  ])
    add(program);
  return program;
}
