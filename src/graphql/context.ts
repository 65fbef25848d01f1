import type { ConversationMemories } from "../accounts/conversation-memory/conversation-memories.ts";
import type { RoomPasswords } from "../accounts/room-passwords.ts";
import type { Credentials } from "../accounts/sign-in/credentials.ts";
import type { SignIn } from "../accounts/sign-in/index.ts";
import type { Config } from "../config/config.ts";
import type { LiveSubscription } from "../live/live-subscription.ts";
import type { Checkout } from "../payments/checkout.ts";
import type { RequestContext } from "../request/context.ts";
import type { Statement, StatementResult, TransactionSettings } from "../request/transaction.ts";

/** What Plinth's plugins read from the preset. */
export interface PlinthPresetOptions {
  readonly limits: Config["limits"];
  readonly introspection: boolean;
}

/** What Plinth's plugins read while an operation runs. */
export interface PlinthContext {
  readonly request: RequestContext;
  /** Absent where a schema is only built or printed. */
  readonly signIn: SignIn | undefined;
  /** Absent likewise. */
  readonly memories: ConversationMemories | undefined;
  /** Absent where nothing is sold. */
  readonly checkout: Checkout | undefined;
  /** Absent likewise. */
  readonly roomPasswords: RoomPasswords | undefined;
  /** Told about the work of planning an operation anew, in fields. */
  readonly onPlan?: ((fields: number) => void) | undefined;
  /** The settings under which a freshly signed-in account's statements run. */
  settingsOf(credentials: Credentials): TransactionSettings;
}

/** What the plans of a subscription find. */
export interface LiveContext {
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
    }
    interface Context {
      plinth: PlinthContext;
      /** The subscription that this operation is; only over WebSocket. */
      live?: LiveContext;
    }
  }
}
