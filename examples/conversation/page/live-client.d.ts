export interface Payload {
  // biome-ignore lint/suspicious/noExplicitAny: the shape is the query's.
  readonly data?: any;
  readonly errors?: readonly { message: string; extensions?: { code?: string } }[];
}

export interface LiveClient {
  /**
   * @param variables called each time the subscription starts, also after a lost connection
   * @param onEnd called on completion, or with the errors that ended it
   * @returns a function that ends the subscription
   */
  subscribe(
    query: string,
    variables: () => object,
    onNext: (payload: Payload) => void,
    onEnd?: (errors: Payload["errors"]) => void,
  ): () => void;
  close(): void;
}

export function createLiveClient(options: {
  /** `ws://host:port/graphql` */
  url: string;
  /** Called before each connection, so that it can return a fresh token. */
  getToken: () => string | undefined | Promise<string | undefined>;
  onState?: (state: "open" | "waiting") => void;
}): LiveClient;

export interface RoomEvent {
  readonly sequence: string;
  readonly kind: string;
  readonly profile: { readonly username: string } | null;
  readonly message: {
    readonly id: string;
    readonly content: string;
    readonly senderType: string;
    readonly isDeleted: boolean;
    readonly senderProfile: { readonly username: string } | null;
  } | null;
}

export function followRoom(
  client: LiveClient,
  room: string,
  after: string | number | null,
  onEvent: (event: RoomEvent) => void,
  onEnd?: (errors: Payload["errors"]) => void,
): () => void;

export function followAnswer(
  client: LiveClient,
  message: string,
  onText: (text: string, state: string) => void,
  onEnd?: (errors: Payload["errors"]) => void,
): () => void;
