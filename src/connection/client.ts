import pg from "pg";
import { chooseWay, type Way, waysOf } from "./choose-way.ts";
import { type DatabaseUrl, parseDatabaseUrl } from "./database-url.ts";
import { SET_SESSION_DEFAULTS } from "./session-defaults.ts";
import { tlsWays } from "./tls.ts";

/**
 * Parts of node-postgres that are used beyond its types: where an unconnected client will connect to, its sign-in, and whether it sends a
 * statement before the answer to the last one.
 */
interface Internals {
  host: string;
  port: number;
  ssl: unknown;
  readonly pipeline: boolean;
  readonly connection: { ssl: unknown; emit(event: "error", error: Error): void };
  _handleAuthSASL(message: { readonly mechanisms: readonly string[] }): void;
  _handleAuthCleartextPassword(message: unknown): void;
  _handleAuthMD5Password(message: unknown): void;
}

/** Choices in progress, by URL: connections that are opened at the same time share one. */
const choices = new Map<string, Promise<Way>>();

/**
 * A client that reads its URL as libpq does: several hosts, target_session_attrs, and all values of sslmode and
 * channel_binding. If the URL leaves a choice, a short connection finds the host at each connect, so a new connection after
 * a failover leads to the new primary. Its session has the settings that Plinth's SQL depends on.
 */
export class DatabaseClient extends pg.Client {
  /** With the password; undefined for a client without a URL. */
  readonly url: string | undefined;
  readonly #target: DatabaseUrl | undefined;
  readonly #ways: readonly Way[] = [];
  readonly #connectionTimeoutMs: number | undefined;
  #isEnded = false;
  #isBound = false;

  constructor(config: pg.ClientConfig = {}) {
    const { connectionString } = config;
    const target = connectionString === undefined ? undefined : parseDatabaseUrl(connectionString);
    const ways = target ? waysOf(target, tlsWays(target)) : [];
    super(target ? configFor(config, target, ways[0]!) : config);
    this.url = connectionString;
    this.#target = target;
    this.#ways = ways;
    const seconds = target?.connectTimeoutSeconds;
    this.#connectionTimeoutMs = config.connectionTimeoutMillis ?? (seconds && seconds * 1_000);
    // The owner of the client listens only once the promise is fulfilled; the first bytes may already contain an error.
    this.on("error", () => {});
    if (target?.channelBinding === "require") this.#requireChannelBinding();
  }

  override connect(): Promise<this>;
  override connect(callback: (error: Error | null, client?: this) => void): void;
  override connect(callback?: (error: Error | null, client?: this) => void): Promise<this> | undefined {
    const connected = this.#connect();
    if (!callback) return connected;
    connected.then(
      () => callback(null, this),
      (error: Error) => callback(error),
    );
    return undefined;
  }

  async #connect(): Promise<this> {
    await this.#chooseWay();
    if (this.#isEnded) throw new Error("Client was closed before it was connected.");
    await super.connect();
    if (this.#target?.channelBinding === "require" && !this.#isBound) {
      await this.end();
      throw unbound();
    }
    await this.#setDefaults();
    return this;
  }

  /** Not as parameters of the connection, which PgBouncer rejects. */
  async #setDefaults(): Promise<void> {
    if ((this as unknown as Internals).pipeline) {
      // The next statement follows at once. It fails as well if the connection is lost.
      this.query(SET_SESSION_DEFAULTS).catch(() => {});
      return;
    }
    // A server that hangs now has not connected in time.
    const query = { text: SET_SESSION_DEFAULTS, query_timeout: this.#connectionTimeoutMs };
    try {
      await this.query(query as pg.QueryConfig);
    } catch (error) {
      void this.end().catch(() => {});
      throw error;
    }
  }

  override end(): Promise<void>;
  override end(callback: (error: Error) => void): void;
  override end(callback?: (error: Error) => void): Promise<void> | undefined {
    this.#isEnded = true;
    if (!callback) return super.end();
    super.end(callback);
    return undefined;
  }

  async #chooseWay(): Promise<void> {
    const [url, target, ways] = [this.url, this.#target, this.#ways];
    if (!url || !target || (ways.length === 1 && target.sessionAttributes === "any")) return;
    const choice =
      choices.get(url) ??
      chooseWay(target, ways, (way) => configFor({ application_name: "plinth host" }, target, way)).finally(
        () => choices.delete(url),
      );
    choices.set(url, choice);
    const { host, port, tls } = await choice;
    const self = this as unknown as Internals;
    const chosen = new pg.Client(configFor({}, target, { host, port, tls }));
    self.host = chosen.host;
    self.port = chosen.port;
    if (tls !== undefined) {
      self.ssl = tls;
      self.connection.ssl = tls;
    }
  }

  /** A server that cannot bind the sign-in to its certificate never gets the password, not even hashed. */
  #requireChannelBinding(): void {
    const self = this as unknown as Internals;
    const signIn = self._handleAuthSASL.bind(self);
    const refuse = () => self.connection.emit("error", unbound());
    self._handleAuthSASL = (message) => {
      if (!message.mechanisms.includes("SCRAM-SHA-256-PLUS")) return refuse();
      this.#isBound = true;
      signIn(message);
    };
    self._handleAuthCleartextPassword = refuse;
    self._handleAuthMD5Password = refuse;
  }
}

function unbound(): Error {
  return Object.assign(new Error("The server offers no channel binding, which the URL requires."), {
    code: "NO_CHANNEL_BINDING",
  });
}

/** The configuration for one way, in node-postgres's terms. */
function configFor(config: pg.ClientConfig, target: DatabaseUrl, { host, port, tls }: Way): pg.ClientConfig {
  const { user, password, database, parameters, channelBinding, connectTimeoutSeconds } = target;
  const { connectionString: _, ...rest } = config;
  return {
    ...(connectTimeoutSeconds && { connectionTimeoutMillis: connectTimeoutSeconds * 1_000 }),
    ...rest,
    ...Object.fromEntries(parameters),
    ...(user && { user }),
    ...(password && { password }),
    ...(database && { database }),
    ...(host && { host }),
    ...(port && { port: Number(port) }),
    // An object of its own for each client, which node-postgres changes.
    ...(tls !== undefined && { ssl: tls && { ...tls } }),
    ...(tls && { enableChannelBinding: channelBinding !== "disable" }),
  };
}
