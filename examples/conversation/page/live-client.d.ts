export interface Payload {
  // biome-ignore lint/suspicious/noExplicitAny: the shape is the query's.
  readonly data?: any;
  readonly errors?: readonly { message: string; extensions?: { code?: string } }[];
}

export interface LiveClient {
  /**
   * @param variables asked each time the subscription is begun, also after a lost connection
   * @param onEnd told when it has completed, or which errors ended it
   * @returns ends it
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
  /** Asked before each connection, so that it can be a fresh one. */
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
