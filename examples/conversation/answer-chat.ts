import { setTimeout as sleep } from "node:timers/promises";
import { type ChatMessage, type Model, streamCompletion } from "./stream-completion.ts";

const RETRY_MS = 300;
const MAX_TRIES = 100;

/**
 * Answers the last message of somebody's chat, streaming, with the token they passed on. Every call can be repeated: the
 * turn by its key, a piece by its number. So a server, database or network that goes away only makes it wait.
 * @returns the id of the answer, as soon as there is one; `done` settles when it has ended
 * @throws Error with the API's code for what trying again would not help
 */
export async function answerChat(options: {
  plinthUrl: string;
  authorization: string;
  chatId: string;
  modelId: string;
  model: Model;
}): Promise<{ messageId: string; done: Promise<void> }> {
  const { plinthUrl, authorization, chatId, modelId, model } = options;
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
    `mutation ($chat: UUID!, $model: UUID!, $parent: UUID!, $key: String!) {
       startTurn(input: { chatId: $chat, modelId: $model, parentId: $parent, maxTokens: "2000", idempotencyKey: $key }) {
         message { id state }
       }
     }`,
    { chat: chatId, model: modelId, parent: question.id, key: `answer:${question.id}` },
  );
  const messageId: string = startTurn.message.id;

  async function write(): Promise<void> {
    let sequence = 0;
    try {
      for await (const content of streamCompletion(model, messages)) {
        sequence += 1;
        await ask(
          `mutation ($id: UUID!, $sequence: Int!, $content: String!) {
             appendDelta(input: { messageId: $id, sequence: $sequence, content: $content }) { lastSequence }
           }`,
          { id: messageId, sequence, content },
        );
      }
      await ask(
        `mutation ($id: UUID!, $last: Int!) {
           finishTurn(input: { messageId: $id, lastSequence: $last }) { message { id } }
         }`,
        { id: messageId, last: sequence },
      );
    } catch (error) {
      // What has arrived is kept; the owner may ask for another answer.
      await ask(
        `mutation ($id: UUID!, $text: String!) {
           breakOffTurn(input: { messageId: $id, errorCode: "model", errorMessage: $text }) { message { id } }
         }`,
        { id: messageId, text: (error as Error).message.slice(0, 500) },
      );
    }
  }
  return { messageId, done: startTurn.message.state === "streaming" ? write() : Promise.resolve() };
}

/** One operation over HTTP, tried again while nobody is there to answer it. */
async function graphql(
  plinthUrl: string,
  authorization: string,
  query: string,
  variables: object,
  // biome-ignore lint/suspicious/noExplicitAny: the shape is the query's.
): Promise<any> {
  for (let tries = 1; ; tries++) {
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
      const code = errors?.[0]?.extensions?.code;
      if (!errors) return data;
      if (code !== "UNAVAILABLE" && code !== "TIMEOUT") throw new ApiError(`${code}: ${errors[0]?.message}`);
    } catch (error) {
      if (error instanceof ApiError || tries >= MAX_TRIES) throw error;
    }
    await sleep(RETRY_MS);
  }
}

class ApiError extends Error {}
