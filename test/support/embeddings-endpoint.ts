import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** An OpenAI-compatible endpoint whose vectors count words of a few topics, so that a test knows what is similar. */
export interface EmbeddingsEndpoint {
  /** For PLINTH_EMBEDDINGS_URL. */
  readonly url: string;
  /** Each request's texts, model and key. */
  readonly requests: { readonly input: string[]; readonly model: string; readonly key: string | undefined }[];
  /** Answers requests with this status while it is set. */
  status: number | undefined;
  /** Rejects requests with a text that contains this word. */
  rejected: string | undefined;
  close(): Promise<void>;
}

/** The words of a dimension; a text without any of them lies in the last dimension. */
const TOPICS = [
  ["tea", "coffee", "drink", "beverage"],
  ["dog", "cat", "pet", "animal"],
  ["piano", "violin", "music", "instrument"],
];

export async function startEmbeddingsEndpoint(): Promise<EmbeddingsEndpoint> {
  const endpoint = { url: "", requests: [] as EmbeddingsEndpoint["requests"] } as {
    -readonly [Key in keyof EmbeddingsEndpoint]: EmbeddingsEndpoint[Key];
  };
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    const { input, model } = JSON.parse(body) as { input: string[]; model: string };
    endpoint.requests.push({ input, model, key: request.headers.authorization });
    const isRejected =
      endpoint.rejected !== undefined && input.some((text) => text.includes(endpoint.rejected!));
    const status = endpoint.status ?? (isRejected || request.url !== "/v1/embeddings" ? 400 : 200);
    response.writeHead(status, { "content-type": "application/json" });
    // In reverse, because only the index says which text a vector belongs to.
    const data = input.map((text, index) => ({ index, embedding: vectorOf(text, model) })).reverse();
    response.end(JSON.stringify(status === 200 ? { data, model } : { error: { message: "no" } }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  endpoint.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  endpoint.close = () => new Promise((resolve) => server.close(() => resolve()));
  return endpoint;
}

function vectorOf(text: string, model: string): number[] {
  const words = text.toLowerCase().match(/[a-z]+/g) ?? [];
  const counts = TOPICS.map((topic) => words.filter((word) => topic.includes(word)).length);
  const vector = [...counts, counts.some((count) => count > 0) ? 0 : 1];
  // Another model has other dimensions.
  return model === "large" ? [...vector, 0, 0] : vector;
}
