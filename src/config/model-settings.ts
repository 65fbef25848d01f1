import { PlinthError } from "../support/errors.ts";
import {
  type Environment,
  flag,
  integer,
  isAddressRange,
  listOf,
  optionalUrl,
  text,
  textOrFile,
} from "./environment.ts";

/** The built-in answerer, and the model that `plinth start` connects. */
export interface ModelSettings {
  /** Whether `plinth start` writes requested answers; if omitted, only with the embedded database. */
  readonly answerer: boolean | undefined;
  /** Maximum number of answers that a process writes at the same time. */
  readonly concurrency: number;
  /** Networks of model servers that are allowed although they are not public. */
  readonly privateNetworks: readonly string[];
  /** Base URL of an OpenAI-compatible API that `plinth start` connects. */
  readonly url: string | undefined;
  readonly key: string | undefined;
  /** Name of its model. */
  readonly name: string;
}

/** The endpoint that turns texts into vectors. */
export interface EmbeddingSettings {
  /** URL of an OpenAI-compatible API, to which /embeddings is added. */
  readonly url: string;
  readonly key: string | undefined;
  readonly model: string;
  /** Number of dimensions to ask for; the model's own if omitted. */
  readonly dimensions: number | undefined;
}

export function models(env: Environment): ModelSettings {
  return {
    answerer: env.PLINTH_ANSWERER ? flag(env, "PLINTH_ANSWERER", false) : undefined,
    concurrency: integer(env, "PLINTH_ANSWERER_CONCURRENCY", 200, 1, 10_000),
    privateNetworks: listOf(
      env,
      "PLINTH_LLM_PRIVATE_ADDRESSES",
      isAddressRange,
      "addresses or CIDR blocks such as 10.0.0.0/8",
    ),
    url: optionalUrl(env, "PLINTH_LLM_URL")?.replace(/\/+$/, ""),
    key: textOrFile(env, "PLINTH_LLM_KEY", "").trim() || undefined,
    name: text(env, "PLINTH_LLM_MODEL", "default"),
  };
}

export function embeddings(env: Environment): EmbeddingSettings | undefined {
  const url = optionalUrl(env, "PLINTH_EMBEDDINGS_URL");
  const model = text(env, "PLINTH_EMBEDDINGS_MODEL", "");
  const key = textOrFile(env, "PLINTH_EMBEDDINGS_KEY", "").trim() || undefined;
  const dimensions = integer(env, "PLINTH_EMBEDDINGS_DIMENSIONS", 0, 1, 16_000) || undefined;
  if (!url) return undefined;
  if (!model)
    throw new PlinthError(
      "INVALID_SETTING",
      "PLINTH_EMBEDDINGS_URL is set, but PLINTH_EMBEDDINGS_MODEL is not.",
    );
  return { url, key, model, dimensions };
}
