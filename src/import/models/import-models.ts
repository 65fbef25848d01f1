import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { PlinthError } from "../../support/errors.ts";
import { notReadable } from "../files/text-file.ts";
import type { ImportOptions, ImportSummary } from "../import.ts";
import { type Reading, runImport } from "../run-import.ts";
import { type Model, readModelFile } from "./model-file.ts";

const BATCH_SIZE = 200;

/**
 * Imports models and their price histories from the `*.json` files of a folder (see readModelFile).
 * @throws PlinthError FILE_* when the folder or a file cannot be read, FOLDER_EMPTY, IMPORT_CANCELLED.
 */
export function importModels(
  folder: string,
  options: ImportOptions & {
    /** Lets all users see and use the models. Models that are already public stay public. */
    readonly makePublic?: boolean;
  },
): Promise<ImportSummary> {
  return runImport(options, {
    readings: readModels(folder),
    sql: "select ordinal, outcome, message from private.import_models($1::jsonb, $2)",
    values: [options.makePublic === true],
    batchSize: BATCH_SIZE,
  });
}

/** All models with the same vendor and id, collected before the first of them is sent. */
interface Group {
  readonly first: { readonly file: string; readonly name: string };
  readonly digest: string;
  count: number;
  /** Whether their prices differ. Then none is imported, because a wrong price is worse than a missing one. */
  differs: boolean;
}

/**
 * Reads the models of a folder, each as an item to send or a rejection; files in the order of their names. The files are read
 * twice, because the last may contradict the first and together they may not fit in memory.
 */
async function* readModels(folder: string): AsyncGenerator<Reading> {
  const paths = await jsonFilesOf(folder);
  const groups = new Map<string, Group>();
  for (const path of paths)
    for await (const reading of readModelFile(path))
      if ("model" in reading) note(groups, basename(path), reading.model);

  const sent = new Set<string>();
  for (const path of paths) {
    const file = basename(path);
    for await (const reading of readModelFile(path)) {
      if (!("model" in reading)) {
        const { problem: message, ...place } = reading;
        yield { rejection: { file, ...place, message } };
        continue;
      }
      const { model } = reading;
      const key = keyOf(model);
      const { first, count, differs } = groups.get(key)!;
      if (differs)
        yield {
          rejection: { file, name: model.id, message: `appears ${count} times with different prices` },
        };
      else if (sent.has(key))
        yield {
          warning: {
            file,
            name: model.id,
            message: `appears again, named "${model.name}"; "${first.name}" of ${first.file} is kept`,
          },
        };
      else yield { item: { file, name: model.id, payload: model } };
      sent.add(key);
    }
  }
}

function note(groups: Map<string, Group>, file: string, model: Model): void {
  const digest = createHash("sha256").update(JSON.stringify(model.priceHistory)).digest("base64");
  const group = groups.get(keyOf(model));
  if (!group) {
    groups.set(keyOf(model), { first: { file, name: model.name }, digest, count: 1, differs: false });
    return;
  }
  group.count += 1;
  group.differs ||= group.digest !== digest;
}

function keyOf({ vendor, id }: Model): string {
  return JSON.stringify([vendor, id]);
}

async function jsonFilesOf(folder: string): Promise<string[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    throw notReadable(folder, error, "folder");
  }
  const files = names.filter((name) => name.endsWith(".json")).sort();
  if (files.length === 0)
    throw new PlinthError("FOLDER_EMPTY", `${folder} contains no *.json files.`, {
      hint: "Each file describes one vendor: {vendor, models: [{id, name, price_history}]}.",
    });
  return files.map((name) => join(folder, name));
}
