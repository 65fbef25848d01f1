import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { PlinthError } from "../errors.ts";
import type { ImportOptions, ImportSummary } from "./import.ts";
import { type Model, parseModelFile } from "./model-file.ts";
import { type Reading, runImport } from "./run-import.ts";
import { notReadable, readTextFile } from "./text-file.ts";

const BATCH_SIZE = 200;

/**
 * Imports models and their price histories from the `*.json` files of a folder (see parseModelFile).
 * @throws PlinthError FILE_* when the folder or a file cannot be read, FOLDER_EMPTY, IMPORT_CANCELLED.
 */
export function importModels(
  folder: string,
  options: ImportOptions & {
    /** Lets everybody see and use the models; those that are public already stay so either way. */
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

interface Found {
  readonly file: string;
  readonly model: Model;
}

/** The models of a folder, each as an item to send or a reason not to; files in the order of their names. */
async function* readModels(folder: string): AsyncGenerator<Reading> {
  const groups = new Map<string, Found[]>();
  for (const path of await jsonFilesOf(folder)) {
    const file = basename(path);
    const { models, problems } = parseModelFile(await readTextFile(path));
    for (const problem of problems) yield { rejection: { file, ...problem } };
    for (const model of models) {
      const key = JSON.stringify([model.vendor, model.id]);
      groups.set(key, [...(groups.get(key) ?? []), { file, model }]);
    }
  }
  for (const group of groups.values()) yield* merge(group);
}

/**
 * One model out of those with the same vendor and id: the first, when all have the same prices. Otherwise none,
 * because a wrong price is worse than a missing one.
 */
function* merge(group: Found[]): Generator<Reading> {
  const [first, ...others] = group as [Found, ...Found[]];
  const prices = JSON.stringify(first.model.priceHistory);
  if (others.some(({ model }) => JSON.stringify(model.priceHistory) !== prices)) {
    for (const { file, model } of group)
      yield {
        rejection: { file, name: model.id, message: `appears ${group.length} times with different prices` },
      };
    return;
  }
  for (const { file, model } of others)
    yield {
      warning: {
        file,
        name: model.id,
        message: `appears again, named "${model.name}"; "${first.model.name}" of ${first.file} is kept`,
      },
    };
  yield { item: { file: first.file, name: first.model.id, payload: first.model } };
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
    throw new PlinthError("FOLDER_EMPTY", `${folder} holds no *.json file.`, {
      hint: "Each file describes one vendor: {vendor, models: [{id, name, price_history}]}.",
    });
  return files.map((name) => join(folder, name));
}
