import type { Command } from "commander";

/** Commands that never take longer than a second. */
const SHORT = null;
/** Commands whose log on stdout shows what they do. */
const LOGS = null;

/** The step that each command shows until its work reports a step of its own. Each command has to be listed. */
export const FIRST_STEPS: Readonly<Record<string, string | null>> = {
  "access check": "Checking the rules",
  "access contract": "Loading the application",
  "access export": "Reading the rules",
  "access history": "Reading the versions",
  "access import": "Importing the rules",
  "access restore": "Restoring the rules",
  answer: LOGS,
  "archive attach": "Checking the archive",
  "archive detach": "Archiving",
  "archive list": "Reading the archives",
  "archive run": "Looking for months that are due",
  "archive verify": "Reading the archives",
  "audit anchor": "Reading the latest block",
  "audit verify": "Verifying the chain",
  "backup delete": "Deleting",
  "backup list": SHORT,
  "backup point": "Creating the point",
  "backup prune": "Deleting old backups",
  "backup take": "Preparing the backup",
  "backup verify": "Reading the backup",
  "compat disable": "Dropping the schemas",
  "compat enable": "Creating the roles",
  "compat list": SHORT,
  "db url": SHORT,
  docs: "Reading the schema",
  doctor: "Examining the settings",
  "documents add": "Loading the schema",
  "documents list": "Loading the schema",
  "documents remove": "Removing documents",
  "explain-access": "Evaluating the policies",
  "export chats": "Reading the chats",
  "export content": "Exporting",
  "import chats": "Importing",
  "import content": "Importing",
  "import models": "Importing",
  "import prompts": "Importing",
  "import system": "Reading the source",
  "import users": "Reading the file",
  init: SHORT,
  "jobs cancel": "Canceling runs",
  "jobs list": "Reading the jobs",
  "jobs retry": "Queueing runs",
  "jobs run": "Waiting for the run",
  "jobs show": "Reading the runs",
  "keys generate": SHORT,
  "keys hash-emails": "Hashing addresses",
  "keys hash-names": "Hashing names",
  "keys rotate": "Counting secrets",
  "keys status": "Counting secrets",
  maintenance: "Looking for work",
  "memory disable-vectors": "Deleting the vectors",
  "memory enable-vectors": "Creating the tables",
  "migrate commit": "Starting a temporary server",
  "migrate recommit": "Starting a temporary server",
  "migrate status": "Reading the history",
  "migrate up": "Connecting to the database",
  "privacy certificate": "Reading the certificate",
  "privacy erase": "Erasing",
  "privacy export": "Finding the account",
  "privacy finish": "Erasing from archives",
  "privacy hold": "Reading the account",
  "privacy reads": "Reading the log",
  "privacy record": "Reading the catalogue",
  "privacy report": "Counting",
  "privacy verify": "Reading the keys",
  "provider delete-key": "Deleting the key",
  "provider set-key": "Storing the key",
  restore: "Planning the restore",
  "restore rows": "Connecting to the copy",
  rollback: "Connecting to the database",
  "schema check": "Loading the application",
  "schema dump": "Loading the application",
  "schema types": "Reading the schema",
  serve: LOGS,
  start: "Starting the database",
  uninstall: "Looking for what to remove",
  upgrade: "Connecting to the database",
  "user create": "Creating the account",
  "user grant": "Changing the roles",
  work: LOGS,
};

/** The words that call a command, without the program's own name. */
export function pathOf(command: Command): string {
  const { parent } = command;
  return parent?.parent ? `${pathOf(parent)} ${command.name()}` : command.name();
}

/** @returns undefined if the command shows no progress, as with --json */
export function firstStepOf(command: Command): string | undefined {
  return command.optsWithGlobals().json ? undefined : (FIRST_STEPS[pathOf(command)] ?? undefined);
}
