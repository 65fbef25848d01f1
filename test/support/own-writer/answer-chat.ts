import { setTimeout as sleep } from "node:timers/promises";
import { inBatches } from "../../../src/answerer/in-batches.ts";
import { reportUsage } from "./report-usage.ts";
import { type ChatMessage, type Model, streamCompletion, type Usage } from "./stream-completion.ts";

const RETRY_MS = 300;
/** For ten minutes at least: a server on a busy machine needs long to start again. */
const MAX_TRIES = 2_000;
/** How long the server may be away before it ends the answer. */
const LEASE_SECONDS = 600;

/**
 * Answers the last message of a user's chat with a stream, using the user's token. Every call can be retried: the
 * turn by its key, a piece by its number. So an outage of a server, the database or the network only delays it.
 * @returns the id of the answer once it is started; `done` settles when the answer has ended
 * @throws Error with the API's code if retrying would not help
 */
export async function answerChat(options: {
  plinthUrl: string;
  authorization: string;
  chatId: string;
  modelId: string;
  model: Model;
  /** Connection as the service role, to report the model's token counts; without it the user's report counts, see docs/chat.md. */
  serviceUrl?: string | undefined;
}): Promise<{ messageId: string; done: Promise<void> }> {
  const { plinthUrl, authorization, chatId, modelId, model, serviceUrl } = options;
  const ask = (query: string, variables: object) => graphql(plinthUrl, authorization, query, variables);

  const { chat } = await ask(
    "query ($id: UUID!) { chat(id: $id) { activePath { nodes { id role content } } } }",
    { id: chatId },
  );
  const path: { id: string; role: string; content: string }[] = chat?.activePath?.nodes ?? [];
  const question = path.at(-1);
  if (question?.role !== "user") throw new Error("There is nothing to answer.");
  const messages = path
    .filter(({ role }) => role === "user" || role === "assistant" || role === "system")
    .map(({ role, content }) => ({ role, content }) as ChatMessage);

  const { startTurn } = await ask(
    `mutation ($chat: UUID!, $model: UUID!, $parent: UUID!, $key: String!, $lease: Int!) {
       startTurn(
         input: { chatId: $chat, modelId: $model, parentId: $parent, maxTokens: "2000", idempotencyKey: $key, leaseSeconds: $lease }
       ) {
         message { id state }
       }
     }`,
    {
      chat: chatId,
      model: modelId,
      parent: question.id,
      key: `answer:${question.id}`,
      lease: LEASE_SECONDS,
    },
  );
  const messageId: string = startTurn.message.id;

  async function write(): Promise<void> {
    let usage: Usage | undefined;
    let sent = 0;
    try {
      // Pieces that arrive during a call are sent with the next one: a fast model needs no more calls than a slow one.
      for await (const batch of inBatches(
        streamCompletion(model, messages, (counted) => (usage = counted)),
      )) {
        const contents = batch.map(({ content }) => content);
        await ask(
          `mutation ($id: UUID!, $first: Int!, $contents: [String!]!) {
             appendDeltas(input: { messageId: $id, firstSequence: $first, contents: $contents }) { lastSequence }
           }`,
          { id: messageId, first: sent + 1, contents },
        );
        sent += contents.length;
      }
      await ask(
        `mutation ($id: UUID!, $last: Int!, $input: BigInt, $output: BigInt) {
           finishTurn(input: { messageId: $id, lastSequence: $last, inputTokens: $input, outputTokens: $output }) {
             message { id }
           }
         }`,
        { id: messageId, last: sent, ...tokens(usage) },
      );
    } catch (error) {
      // The text so far is kept; the owner may request another answer.
      await ask(
        `mutation ($id: UUID!, $text: String!, $input: BigInt, $output: BigInt) {
           breakOffTurn(
             input: { messageId: $id, errorCode: "model", errorMessage: $text, inputTokens: $input, outputTokens: $output }
           ) { message { id } }
         }`,
        { id: messageId, text: (error as Error).message.slice(0, 500), ...tokens(usage) },
      );
    }
    if (usage && serviceUrl) await reportUsage(serviceUrl, messageId, usage);
  }
  return { messageId, done: startTurn.message.state === "streaming" ? write() : Promise.resolve() };
}

/** Token counts as BigInt, which is a string in JSON. */
function tokens(usage: Usage | undefined): { input: string | undefined; output: string | undefined } {
  return { input: usage && String(usage.inputTokens), output: usage && String(usage.outputTokens) };
}

/** Sends one operation over HTTP; retries while the server is unavailable, and after the rate limit's waiting time. */
async function graphql(
  plinthUrl: string,
  authorization: string,
  query: string,
  variables: object,
  // biome-ignore lint/suspicious/noExplicitAny: the shape is the query's.
): Promise<any> {
  for (let tries = 1; ; tries++) {
    let waitMs = RETRY_MS;
    try {
      const response = await fetch(`${plinthUrl}/graphql`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization },
        body: JSON.stringify({ query, variables }),
      });
      const { data, errors } = (await response.json()) as {
        data?: unknown;
        errors?: { message: string; extensions?: { code?: string } }[];
      };
      if (!errors) return data;
      const { message, extensions } = errors[0] ?? {};
      const code = extensions?.code ?? "";
      if (!["UNAVAILABLE", "TIMEOUT", "RATE_LIMITED"].includes(code) || tries >= MAX_TRIES)
        throw new ApiError(`${code}: ${message}`);
      if (code === "RATE_LIMITED") waitMs = Number(response.headers.get("retry-after") ?? 1) * 1000;
    } catch (error) {
      if (error instanceof ApiError || tries >= MAX_TRIES) throw error;
    }
    await sleep(waitMs);
  }
}

class ApiError extends Error {}
