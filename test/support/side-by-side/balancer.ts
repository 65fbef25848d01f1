import { setTimeout as sleep } from "node:timers/promises";
import { type Answer, type AskOptions, ask } from "../api.ts";

const PROBE_MS = 50;
/** Of a client between requests, which leaves the machine to the servers. */
const PAUSE_MS = 25;

interface Backend {
  url: string;
  isReady: boolean;
  answered: number;
}

/** Sends requests in turn to the servers whose readiness probe succeeds, as a load balancer does. */
export class Balancer {
  readonly #backends: Backend[];
  #turn = 0;
  #isClosed = false;
  readonly #probing: Promise<unknown>;

  constructor(urls: readonly string[]) {
    this.#backends = urls.map((url) => ({ url, isReady: true, answered: 0 }));
    this.#probing = Promise.all(this.#backends.map((backend) => this.#probe(backend)));
  }

  /** The server at this place has been started again. */
  replace(index: number, url: string): void {
    Object.assign(this.#backends[index]!, { url, answered: 0 });
  }

  isReady(index: number): boolean {
    return this.#backends[index]!.isReady;
  }

  /** Number of answers of a server since its start. */
  answeredBy(index: number): number {
    return this.#backends[index]!.answered;
  }

  /**
   * Waits for a server: a busy one may miss the time limit of its readiness probe.
   * @throws the error of a connection that breaks before the answer
   */
  async ask(query: string, options?: AskOptions): Promise<Answer> {
    const backend = await this.#next();
    const { url } = backend;
    const answer = await ask(url, query, options);
    if (backend.url === url) backend.answered++;
    return answer;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#probing;
  }

  async #next(): Promise<Backend> {
    for (;;) {
      const ready = this.#backends.filter(({ isReady }) => isReady);
      const backend = ready[this.#turn++ % ready.length];
      if (backend) return backend;
      if (this.#isClosed) throw new Error("No server is ready.");
      await sleep(PROBE_MS);
    }
  }

  async #probe(backend: Backend): Promise<void> {
    while (!this.#isClosed) {
      backend.isReady = await fetch(`${backend.url}/readyz`).then(
        async (response) => {
          await response.text();
          return response.ok;
        },
        () => false,
      );
      await sleep(PROBE_MS);
    }
  }
}

/** Clients that create one chat after another. */
export class Load {
  /** Titles whose creation the server confirmed. */
  readonly acknowledged: string[] = [];
  /** Answers that were errors. */
  readonly refused: string[] = [];
  /** Number of requests whose connection broke before the answer. */
  broken = 0;
  #isOver = false;
  readonly #clients: Promise<unknown>;

  constructor(balancer: Pick<Balancer, "ask">, token: string, name: string) {
    this.#clients = Promise.all(
      [1, 2, 3, 4].map((client) => this.#run(balancer, token, `${name} ${client}`)),
    );
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#clients;
  }

  async #run(balancer: Pick<Balancer, "ask">, token: string, name: string): Promise<void> {
    const create =
      "mutation ($title: String!) { createChat(input: { chat: { title: $title } }) { chat { title } } }";
    for (let number = 1; !this.#isOver; number++) {
      const title = `${name}.${number}`;
      try {
        const { data, text } = await balancer.ask(create, { token, variables: { title } });
        if (data?.createChat?.chat?.title === title) this.acknowledged.push(title);
        else this.refused.push(text);
      } catch {
        this.broken++;
      }
      await sleep(PAUSE_MS);
    }
  }
}
