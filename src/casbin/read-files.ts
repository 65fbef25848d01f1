import { readFile } from "node:fs/promises";
import { isNotUtf8, notReadable, notText } from "../import/text-file.ts";
import { type CasbinRule, parseCasbinPolicy } from "./parse-policy.ts";

/** A line of a file that cannot be used. */
export interface FileFault {
  readonly file: string;
  readonly line: number;
  readonly column?: number;
  readonly reason: string;
}

/** A model and a policy as their files hold them; undefined for a file that was not named. */
export interface CasbinFiles {
  readonly model: { readonly file: string; readonly definition: string } | undefined;
  readonly policy: { readonly file: string; readonly rules: readonly CasbinRule[] } | undefined;
  readonly faults: readonly FileFault[];
}

/** @throws PlinthError for a file that cannot be read or is not UTF-8 */
export async function readCasbinFiles(paths: {
  readonly model?: string | undefined;
  readonly policy?: string | undefined;
}): Promise<CasbinFiles> {
  const definition = paths.model === undefined ? undefined : await readText(paths.model);
  const policy = paths.policy === undefined ? undefined : parseCasbinPolicy(await readText(paths.policy));
  const long = (policy?.rules ?? []).filter(({ values }) => values.length > COLUMNS);
  return {
    model: definition === undefined ? undefined : { file: paths.model!, definition },
    policy: policy && { file: paths.policy!, rules: policy.rules.filter((rule) => !long.includes(rule)) },
    faults: [
      ...(policy?.faults ?? []),
      ...long.map(({ line }) => ({ line, reason: `The rule has more than ${COLUMNS} values.` })),
    ].map((fault) => ({ file: paths.policy!, ...fault })),
  };
}

/** The values of a rule: the columns v0 to v5. */
const COLUMNS = 6;

async function readText(path: string): Promise<string> {
  const bytes = await readFile(path).catch((error) => {
    throw notReadable(path, error, "file");
  });
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw isNotUtf8(error) ? notText(path) : error;
  }
}
