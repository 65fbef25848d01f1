import { readFile } from "node:fs/promises";
import { extname } from "node:path";
import { isNotUtf8, notReadable, notText } from "../import/files/text-file.ts";
import { PlinthError } from "../support/errors.ts";
import type { Findings } from "./found-document.ts";
import { documentsInGraphqlFiles } from "./graphql-files.ts";
import { documentsInManifest } from "./manifest.ts";

/**
 * Reads the documents of .graphql files, which may use each other's fragments, and of manifests (.json).
 * @throws PlinthError FILE_TYPE_UNKNOWN, NO_DOCUMENTS, and those of a file that cannot be read
 */
export async function readDocuments(paths: readonly string[]): Promise<Findings> {
  const files = await Promise.all(paths.map(async (path) => ({ path, text: await readText(path) })));
  const isManifest = ({ path }: { path: string }) => extname(path).toLowerCase() === ".json";
  const findings = [
    documentsInGraphqlFiles(files.filter((file) => !isManifest(file))),
    ...files.filter(isManifest).map(({ path, text }) => documentsInManifest(path, text)),
  ];
  const documents = findings.flatMap((finding) => finding.documents);
  const faults = findings.flatMap((finding) => finding.faults);
  if (documents.length + faults.length === 0)
    throw new PlinthError("NO_DOCUMENTS", "The files contain no operation.", {
      hint: "Name the files with the queries, mutations and subscriptions, or the manifest that your build writes.",
    });
  return { documents, faults };
}

async function readText(path: string): Promise<string> {
  if (!/\.(graphql|gql|json)$/i.test(path))
    throw new PlinthError("FILE_TYPE_UNKNOWN", `${path} is neither a .graphql file nor a .json manifest.`);
  const bytes = await readFile(path).catch((error) => {
    throw notReadable(path, error, "file");
  });
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw isNotUtf8(error) ? notText(path) : error;
  }
}
