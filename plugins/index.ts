import { AccountRecoveryPlugin } from "./account-recovery.ts";
import { ApiTokensPlugin } from "./api-tokens.ts";
import { AuthPlugin } from "./auth.ts";
import { CheckoutPlugin } from "./checkout.ts";
import { ConstraintsPlugin } from "./constraints.ts";
import { ConversationMemoryPlugin } from "./conversation-memory.ts";
import { DescriptionsPlugin } from "./descriptions/descriptions.ts";
import { ExactJsonPlugin } from "./exact-json.ts";
import { FilterInputsPlugin } from "./filter-inputs.ts";
import { FilterableColumnsPlugin } from "./filterable-columns.ts";
import { MessageDeltasPlugin } from "./live/message-deltas.ts";
import { PresencePlugin } from "./live/presence.ts";
import { RoomEventsPlugin } from "./live/room-events.ts";
import { UnreadCountsPlugin } from "./live/unread-counts.ts";
import { MfaPlugin } from "./mfa.ts";
import { MultirangesPlugin } from "./multiranges.ts";
import { NamingPlugin } from "./naming.ts";
import { NodeIdsPlugin } from "./node-ids.ts";
import { NotFoundPlugin } from "./not-found.ts";
import { OncePerOperationPlugin } from "./once-per-operation.ts";
import { PageSizePlugin } from "./page-size.ts";
import { PagingPlugin } from "./paging/paging.ts";
import { PlanCachePlugin } from "./plan-cache.ts";
import { ProvidersPlugin } from "./providers.ts";
import { QueryLimitsPlugin } from "./query-limits.ts";
import { RoomPasswordsPlugin } from "./room-passwords.ts";
import { StorableVariablesPlugin } from "./storable-variables.ts";
import { StrictScalarsPlugin } from "./strict-scalars.ts";
import { UniqueKeysPlugin } from "./unique-keys.ts";

/** Plinth's own plugins, in the order in which they act; each with the reason why it is there. */
export const PLUGINS: readonly GraphileConfig.Plugin[] = [
  NamingPlugin, // names a GraphQL user expects, settled before anything refers to them
  UniqueKeysPlugin, // one way to change a row instead of one per unique key
  NodeIdsPlugin, // likewise, nor one more by node id
  FilterableColumnsPlugin, // a user's own chats are few: no index is needed to filter them
  MultirangesPlugin, // PostGraphile has no name for this type
  ExactJsonPlugin, // a number that no double holds keeps its value
  StrictScalarsPlugin, // what cannot be read back is not taken
  FilterInputsPlugin, // a backslash that is looked for is a backslash
  ConstraintsPlugin, // a violated constraint names the field at fault
  AuthPlugin, // hashing passwords and signing tokens is not SQL's to do
  ApiTokensPlugin, // nor is making a secret that the database never sees
  MfaPlugin, // nor opening sealed secrets and checking passkeys
  ConversationMemoryPlugin, // only the server has the keys to what is encrypted
  AccountRecoveryPlugin, // nor is making the tokens that mails carry
  ProvidersPlugin, // nor is asking another provider who somebody is
  RoomEventsPlugin, // nor is waiting for news
  PresencePlugin, // likewise
  UnreadCountsPlugin, // likewise
  MessageDeltasPlugin, // likewise
  CheckoutPlugin, // a payment provider is asked over HTTP
  RoomPasswordsPlugin, // nor is checking the password of a room
  DescriptionsPlugin, // PostgreSQL keeps no comments of arguments
  NotFoundPlugin, // a mutation that row-level security stops says so
  PagingPlugin, // PostGraphile's pages lose rows with nulls, ties and infinities
  PageSizePlugin, // nobody reads a whole table by leaving `first` out
  OncePerOperationPlugin, // an alias is no second guess at a password
  QueryLimitsPlugin, // one request cannot take the server for itself
  StorableVariablesPlugin, // what would be stored as something else is not taken
  PlanCachePlugin, // nor can many that differ
];
