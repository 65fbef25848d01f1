import type { Command } from "commander";
import type { Fault } from "../../documents/found-document.ts";
import { note, oneLine, print, printJson } from "../output.ts";
import { withClient, withSession } from "../session.ts";

/** Number of faults shown on the terminal. */
const LISTED = 20;

interface Flags {
  readonly json?: boolean;
}

export function addDocuments(program: Command): void {
  const command = program
    .command("documents")
    .description("manage the documents that clients may name by their hash")
    .addHelpText("after", "\nExample:\n  $ plinth documents add ./persisted-query-manifest.json");

  command
    .command("add")
    .argument("<file...>", ".graphql files, or manifests (.json) of Apollo, Relay or graphql-codegen")
    .description("validate and store documents; running servers accept them at once")
    .option("--json", "print the documents as JSON")
    .addHelpText(
      "after",
      `
Each operation of a .graphql file becomes a document with the fragments it uses, also those of other given files. The
ids of a manifest must be SHA-256 hashes of its texts. If any document is not valid, none is stored. Adding again
changes nothing. Needs PLINTH_OWNER_URL and PLINTH_AUTHENTICATOR_URL, and the PLINTH_LIMIT_… settings of the servers.

Example:
  $ plinth documents add ./src/**/*.graphql
  $ plinth documents add ./persisted-query-manifest.json`,
    )
    .action(add);

  command
    .command("list")
    .description("list the stored documents; exit code 1 if the schema no longer accepts one")
    .option("--json", "print the documents with their texts as JSON")
    .addHelpText("after", "\nExample:\n  $ plinth documents list")
    .action(list);

  command
    .command("remove")
    .argument("<hash...>", "hashes, as plinth documents list prints them")
    .description("remove documents from the database and from running servers")
    .option("--json", "print the hashes as JSON")
    .addHelpText(
      "after",
      "\nIf any hash is unknown, none is removed.\n\nExample:\n  $ plinth documents remove 3f1c…",
    )
    .action(remove);
}

async function add(files: readonly string[], { json }: Flags): Promise<void> {
  const { readDocuments } = await import("../../documents/read-documents.ts");
  const { documentHash } = await import("../../documents/document-hash.ts");
  const { loadApplication } = await import("../../application/load-application.ts");
  const { createValidator } = await import("../../documents/validator.ts");
  const { storeDocuments } = await import("../../documents/stored-documents.ts");
  const { documents, faults: unusable } = await readDocuments(files);

  await withSession(async ({ config, database }) => {
    const validate = await createValidator(
      config,
      database.url("authenticator"),
      await loadApplication(config),
    );
    const checked = documents.map(({ source, text }) => ({ source, text, ...validate(text) }));
    const faults = [
      ...unusable,
      ...checked.flatMap(({ source, errors }) => errors.map((message) => ({ source, message }))),
    ];
    if (faults.length > 0) return reject(faults, json);
    const added = await withClient(database, "owner", (client) =>
      storeDocuments(
        client,
        checked.map(({ text }) => text),
      ),
    );
    const byHash = new Map(checked.map(({ text, operations }) => [documentHash(text), operations]));
    const summary = [...byHash].map(([hash, operations]) => ({ hash, operations, isNew: added.has(hash) }));
    if (json) return printJson({ documents: summary, faults });
    for (const { hash, operations } of summary) print(`${hash}  ${operations.join(", ")}`);
    note(`${added.size} added, ${summary.length - added.size} unchanged`);
  });
}

function reject(faults: readonly Fault[], json: boolean | undefined): void {
  if (json) printJson({ documents: [], faults });
  for (const { source, message } of faults.slice(0, LISTED))
    note(`rejected: ${oneLine(source)}: ${oneLine(message)}`);
  if (faults.length > LISTED) note(`… and ${faults.length - LISTED} more; --json lists all.`);
  note("error: Nothing was stored, because documents were rejected.");
  note("hint: Correct the files. If they are right, compare the schema: migrations/schema/schema.graphql.");
  process.exitCode = 1;
}

async function list({ json }: Flags): Promise<void> {
  const { loadApplication } = await import("../../application/load-application.ts");
  const { createValidator } = await import("../../documents/validator.ts");
  const { readStoredDocuments } = await import("../../documents/stored-documents.ts");
  const documents = await withSession(async ({ config, database }) => {
    const stored = await withClient(database, "owner", readStoredDocuments);
    const validate = await createValidator(
      config,
      database.url("authenticator"),
      await loadApplication(config),
    );
    return stored.map((document) => ({ ...document, ...validate(document.text) }));
  });
  if (json) printJson({ documents });
  else
    for (const { hash, operations, errors } of documents)
      print([hash, operations.join(", "), ...errors.slice(0, 1)].map(oneLine).join("  "));
  const broken = documents.filter(({ errors }) => errors.length > 0).length;
  if (broken === 0) return;
  note(`error: The schema no longer accepts ${broken === 1 ? "a document" : `${broken} documents`}.`);
  note("hint: Add the clients' new documents, and remove these with plinth documents remove.");
  process.exitCode = 1;
}

async function remove(ids: readonly string[], { json }: Flags): Promise<void> {
  const { removeDocuments } = await import("../../documents/stored-documents.ts");
  const removed = await withSession(({ database }) =>
    withClient(database, "owner", (client) => removeDocuments(client, ids)),
  );
  if (json) printJson({ removed });
  else print(`Removed ${removed.length} ${removed.length === 1 ? "document" : "documents"}.`);
}
