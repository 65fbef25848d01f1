import type { Send } from "../request.ts";
import { randomId } from "../support/random-id.ts";
import type { Answer } from "./answer.ts";
import { CANCEL_ANSWER, CREATE_CHAT, SEND_MESSAGE } from "./documents.ts";
import { type AnswerRequest, startAnswer } from "./start-answer.ts";
import { type Follow, StreamedAnswer } from "./streamed-answer.ts";

/** A message to a chat, and the answer that it asks for. */
export interface Question extends AnswerRequest {
  readonly content: string;
  /** Up to ten references to files. */
  readonly attachments?: readonly {
    readonly url: string;
    readonly mimeType: string;
    readonly sizeBytes?: number;
    readonly name?: string;
  }[];
}

/** Stops following; the answer itself goes on, see {@link Answer.cancel}. */
interface Options {
  readonly signal?: AbortSignal;
}

/** Chats with models. */
export class Chat {
  readonly #send: Send;
  readonly #follow: Follow;

  constructor(send: Send, follow: Follow) {
    this.#send = send;
    this.#follow = follow;
  }

  /** Creates an empty chat; without a title it gets the first line of its first question. @returns its id */
  async create(title?: string): Promise<string> {
    const { chat } = await this.#send<{ chat: { id: string } }>(CREATE_CHAT, { input: { chat: { title } } });
    return chat.id;
  }

  /** Posts a question and streams the answer. Safe to repeat with the same `idempotencyKey`. */
  ask(question: Question & Options): Answer {
    const { content, attachments, signal, idempotencyKey = randomId(), parentId, ...answer } = question;
    const ids = async () => {
      const { message } = await this.#send<{ message: { id: string } }>(
        SEND_MESSAGE,
        { input: { chatId: answer.chatId, content, attachments, parentId, idempotencyKey } },
        { signal },
      );
      const key = `${idempotencyKey} answer`;
      return startAnswer(this.#send, { ...answer, parentId: message.id, idempotencyKey: key }, signal);
    };
    return this.#stream(ids(), 0, signal);
  }

  /** Streams an answer to a message that is already there: the first one, or another one beside it. */
  answer({ signal, ...request }: AnswerRequest & Options): Answer {
    const keyed = { idempotencyKey: randomId(), ...request };
    return this.#stream(startAnswer(this.#send, keyed, signal), 0, signal);
  }

  /** Follows an answer that was started elsewhere. @param options `after`: the sequence of the last piece received */
  follow(messageId: string, { after = 0, signal }: Options & { readonly after?: number } = {}): Answer {
    return this.#stream(Promise.resolve(messageId), after, signal);
  }

  #stream(id: Promise<string>, after: number, signal: AbortSignal | undefined): Answer {
    const cancel = async () => {
      // An answer that has ended stays as it is, so the call may be repeated.
      await this.#send(CANCEL_ANSWER, { input: { messageId: await id } }, { retries: 3 });
    };
    return new StreamedAnswer(id, (id) => this.#follow(id, after, signal), after, cancel);
  }
}
