// Declares `withPgClient` and `pgSettings` of the context, also for the plugins of an application.
import "@dataplan/pg/adaptors/pg";
import type { GraphQLError } from "graphql";
import type { ConversationMemories } from "../accounts/conversation-memory/conversation-memories.ts";
import type { Memories } from "../accounts/memories/memories.ts";
import type { ModelKeys } from "../accounts/model-keys.ts";
import type { RoomPasswords } from "../accounts/room-passwords.ts";
import type { Credentials } from "../accounts/sign-in/credentials.ts";
import type { SignIn } from "../accounts/sign-in/index.ts";
import type { Config } from "../config/config.ts";
import type { LiveSubscription } from "../live/live-subscription.ts";
import type { Checkout } from "../payments/checkout.ts";
import type { RequestContext } from "../request/context.ts";
import type { RecordReads } from "../request/reads-of-others.ts";
import type { ReplicaReads } from "../request/replicas/replica-reads.ts";
import type { Snapshot } from "../request/snapshot.ts";
import type {
  SendStatement,
  Statement,
  StatementResult,
  TransactionSettings,
} from "../request/transaction.ts";

/** The options that Plinth's plugins read from the preset. */
export interface PlinthPresetOptions {
  readonly limits: Config["limits"];
  readonly introspection: boolean;
  /** Reduces an error to what a client may see. */
  readonly maskError: (error: GraphQLError) => GraphQLError;
  /** Whether a table, view or function belongs to a module that is left out. */
  readonly isLeftOut: (schema: string, name: string) => boolean;
}

/** The context that Plinth's plugins read while an operation runs. */
export interface PlinthContext {
  readonly request: RequestContext;
  /** Undefined when a schema is only built or printed. */
  readonly signIn: SignIn | undefined;
  /** Likewise. */
  readonly conversationMemories: ConversationMemories | undefined;
  /** Likewise. */
  readonly memories: Memories | undefined;
  /** Undefined when payments are not configured. */
  readonly checkout: Checkout | undefined;
  /** Undefined when a schema is only built or printed. */
  readonly roomPasswords: RoomPasswords | undefined;
  /** Likewise. */
  readonly modelKeys: ModelKeys | undefined;
  /** Called with the number of fields of each newly planned operation. */
  readonly onPlan?: ((fields: number) => void) | undefined;
  /** Returns the snapshot that all statements of a query share; it takes a connection when the first is sent. */
  openSnapshot(settings: TransactionSettings): Snapshot;
  /** Sends the only statement of a query that reads from a replica. */
  readonly sendToReplica?: SendStatement | undefined;
  /** Undefined when a schema is only built or printed; then a read of other people's data fails. */
  readonly recordReads: RecordReads | undefined;
  /** Returns the settings for statements of an account that has just signed in. */
  settingsOf(credentials: Credentials): TransactionSettings;
}

/** The context of a subscription's plans. */
interface LiveContext {
  readonly subscription: LiveSubscription;
  /** Undefined for a visitor. */
  readonly userId: string | undefined;
  /** Reads under the subscriber's claims. */
  read<TRow>(statement: Statement): Promise<StatementResult<TRow>>;
}

declare global {
  namespace GraphileConfig {
    interface Preset {
      plinth?: PlinthPresetOptions;
    }
  }
  namespace Grafast {
    interface RequestContext {
      plinth?: import("../request/context.ts").RequestContext;
      /** Where the statements of a query go instead of the primary. */
      plinthReads?: ReplicaReads | undefined;
    }
    interface Context {
      plinth: PlinthContext;
      /** The subscription of this operation; only over WebSocket. */
      live?: LiveContext;
    }
  }
}
