import { readFile } from "node:fs/promises";
import { isNotUtf8, notReadable, notText } from "../import/files/text-file.ts";
import { type CasbinLine, parseCasbinPolicy } from "./parse-policy.ts";

/** A line of a file that cannot be used, or a stored rule. */
export interface FileFault {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
  readonly reason: string;
}

/** A model and a policy as their files hold them; undefined for a file that was not named. */
export interface CasbinFiles {
  readonly model: { readonly file: string; readonly definition: string } | undefined;
  readonly policy: { readonly file: string; readonly rules: readonly CasbinLine[] } | undefined;
  readonly faults: readonly FileFault[];
}

/** @throws PlinthError for a file that cannot be read or is not UTF-8 */
export async function readCasbinFiles(paths: {
  readonly model?: string | undefined;
  readonly policy?: string | undefined;
}): Promise<CasbinFiles> {
  const { model: modelFile, policy: policyFile } = paths;
  const definition = modelFile === undefined ? undefined : await readText(modelFile);
  const policy = policyFile === undefined ? undefined : parseCasbinPolicy(await readText(policyFile));
  return {
    model: definition === undefined ? undefined : { file: modelFile!, definition },
    policy: policy && { file: policyFile!, rules: policy.rules },
    faults: (policy?.faults ?? []).map((fault) => ({ file: policyFile!, ...fault })),
  };
}

async function readText(path: string): Promise<string> {
  const bytes = await readFile(path).catch((error) => {
    throw notReadable(path, error, "file");
  });
  // PostgreSQL stores no NUL.
  if (bytes.includes(0)) throw notText(path);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw isNotUtf8(error) ? notText(path) : error;
  }
}
