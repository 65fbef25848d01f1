import type { Config } from "../../config/config.ts";
import { traceHeaders } from "../../observability/tracing.ts";
import { PlinthError } from "../../support/errors.ts";

/** Turns texts into vectors: texts with similar meanings get vectors in similar directions. */
export interface Embedder {
  /** Names the model and the number of dimensions. Vectors of different models cannot be compared. */
  readonly model: string;
  /**
   * @returns a vector for each text, in the same order
   * @throws PlinthError EMBEDDINGS_REFUSED if repeating the same texts cannot succeed, EMBEDDINGS_FAILED otherwise
   */
  embed(texts: readonly string[], signal?: AbortSignal): Promise<number[][]>;
}

type Settings = NonNullable<Config["embeddings"]>;

const TIMEOUT_MS = 30_000;
const MAX_DIMENSIONS = 16_000;
/** Statuses after which the same request may succeed: timeouts, limits and wrong keys, which an operator replaces. */
const PASSING = [401, 402, 403, 404, 408, 409, 425, 429];

/** Creates a client of an OpenAI-compatible POST /embeddings; undefined without the setting. */
export function createEmbedder(settings: Config["embeddings"]): Embedder | undefined {
  if (!settings) return undefined;
  const { model, dimensions } = settings;
  return {
    model: dimensions === undefined ? model : `${model} ${dimensions}`,
    async embed(texts, signal) {
      if (texts.length === 0) return [];
      return readVectors(await post(settings, texts, signal), texts.length, dimensions);
    },
  };
}

async function post(
  { url, key, model, dimensions }: Settings,
  texts: readonly string[],
  signal?: AbortSignal,
) {
  const expiry = AbortSignal.timeout(TIMEOUT_MS);
  const answer = await fetch(`${url.replace(/\/+$/, "")}/embeddings`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      ...(key && { authorization: `Bearer ${key}` }),
      ...traceHeaders(),
    },
    body: JSON.stringify({
      model,
      input: texts,
      encoding_format: "float",
      ...(dimensions && { dimensions }),
    }),
    // A redirect would send the texts and the key to a server that the operator did not name.
    redirect: "error",
    signal: signal ? AbortSignal.any([signal, expiry]) : expiry,
  }).catch((cause: unknown) => {
    throw failed("The endpoint cannot be reached.", cause);
  });
  if (answer.ok)
    return answer.json().catch((cause: unknown) => {
      throw failed("The endpoint did not answer with JSON.", cause);
    });
  await answer.body?.cancel();
  const isRefused = answer.status >= 400 && answer.status < 500 && !PASSING.includes(answer.status);
  throw isRefused
    ? new PlinthError("EMBEDDINGS_REFUSED", `The endpoint rejected the texts with status ${answer.status}.`)
    : failed(`The endpoint answered with status ${answer.status}.`);
}

function readVectors(answer: unknown, count: number, dimensions: number | undefined): number[][] {
  const data = (answer as { data?: unknown } | null)?.data;
  if (!Array.isArray(data) || data.length !== count)
    throw failed("The answer has the wrong number of vectors.");
  const vectors: number[][] = Array(count);
  for (const { index, embedding } of data as { index?: unknown; embedding?: unknown }[]) {
    if (!Number.isInteger(index) || !isVector(embedding)) throw failed("The answer has no vectors.");
    vectors[index as number] = embedding;
  }
  const length = dimensions ?? vectors[0]?.length;
  if (vectors.length !== count || Array.from(vectors).some((vector) => vector?.length !== length))
    throw failed("The vectors have the wrong number of dimensions.");
  return vectors;
}

function isVector(value: unknown): value is number[] {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.length <= MAX_DIMENSIONS &&
    value.every((each) => typeof each === "number" && Number.isFinite(each))
  );
}

function failed(problem: string, cause?: unknown): PlinthError {
  return new PlinthError("EMBEDDINGS_FAILED", problem, { cause, hint: "Check PLINTH_EMBEDDINGS_URL." });
}
