import { AccountRecoveryPlugin } from "./account-recovery.ts";
import { ApiTokensPlugin } from "./api-tokens.ts";
import { AuthPlugin } from "./auth.ts";
import { BehaviorMemoryPlugin } from "./behavior-memory.ts";
import { CheckoutPlugin } from "./checkout.ts";
import { CompiledDocumentsPlugin } from "./compiled/compiled-documents.ts";
import { ConstraintsPlugin } from "./constraints.ts";
import { ConversationMemoryPlugin } from "./conversation-memory.ts";
import { DescriptionsPlugin } from "./descriptions/descriptions.ts";
import { EnumsPlugin } from "./enums/enums.ts";
import { ValuesElsewherePlugin } from "./enums/values-elsewhere.ts";
import { ExactJsonPlugin } from "./exact-json.ts";
import { FilterInputsPlugin } from "./filter-inputs.ts";
import { FilterableColumnsPlugin } from "./filterable-columns.ts";
import { LeftOutPlugin } from "./left-out.ts";
import { MessageDeltasPlugin } from "./live/message-deltas/message-deltas.ts";
import { PresencePlugin } from "./live/presence.ts";
import { RoomAnswerPlugin } from "./live/room-answer.ts";
import { RoomEventsPlugin } from "./live/room-events.ts";
import { UnreadCountsPlugin } from "./live/unread-counts.ts";
import { MemoriesPlugin } from "./memories.ts";
import { MfaPlugin } from "./mfa.ts";
import { ModelKeysPlugin } from "./model-keys.ts";
import { MultirangesPlugin } from "./multiranges.ts";
import { NamesPlugin } from "./names.ts";
import { NamingPlugin } from "./naming.ts";
import { NodeIdsPlugin } from "./node-ids.ts";
import { NotFoundPlugin } from "./not-found.ts";
import { OncePerOperationPlugin } from "./once-per-operation.ts";
import { OneRoundTripPlugin } from "./one-round-trip.ts";
import { OneSnapshotPlugin } from "./one-snapshot.ts";
import { OwnRowsPlugin } from "./own-rows.ts";
import { PageSizePlugin } from "./page-size.ts";
import { PagingPlugin } from "./paging/paging.ts";
import { PlanCachePlugin } from "./plan-cache.ts";
import { ProvidersPlugin } from "./providers.ts";
import { QueryLimitsPlugin } from "./query-limits.ts";
import { ReadsByFilterPlugin } from "./reads-by-filter.ts";
import { ReadsOfOthersPlugin } from "./reads-of-others.ts";
import { RepeatedValuesPlugin } from "./repeated-values.ts";
import { RoomPasswordsPlugin } from "./room-passwords.ts";
import { StorableVariablesPlugin } from "./storable-variables.ts";
import { StrictScalarsPlugin } from "./strict-scalars.ts";
import { UniqueKeysPlugin } from "./unique-keys.ts";

/** Plinth's own plugins in the order in which they run, each with its reason. */
export const PLUGINS: readonly GraphileConfig.Plugin[] = [
  BehaviorMemoryPlugin, // the server starts sooner
  NamesPlugin, // SQL keeps names that migrations and analytics use
  NamingPlugin, // names that a GraphQL user expects, set before anything refers to them
  EnumsPlugin, // a client sees which states, roles and kinds there are
  ValuesElsewherePlugin, // likewise where no constraint lists them
  UniqueKeysPlugin, // one mutation to change a row instead of one per unique key
  NodeIdsPlugin, // likewise, without a second one by node id
  FilterableColumnsPlugin, // a user has few chats, so filters on them need no index
  LeftOutPlugin, // modules can be left out
  MultirangesPlugin, // PostGraphile does not know this type
  ExactJsonPlugin, // numbers beyond double precision keep their value
  StrictScalarsPlugin, // rejects values that could not be read back
  RepeatedValuesPlugin, // Grafast merges equal values in a list
  FilterInputsPlugin, // a backslash in a search text is literal
  ConstraintsPlugin, // constraint violations name the field
  AuthPlugin, // passwords are hashed and tokens signed outside SQL
  ApiTokensPlugin, // the database never sees these secrets
  MfaPlugin, // sealed secrets are opened and passkeys verified outside SQL
  ConversationMemoryPlugin, // only the server has the encryption keys
  MemoriesPlugin, // likewise
  AccountRecoveryPlugin, // tokens in emails are created outside SQL
  ProvidersPlugin, // sign-in providers are called over HTTP
  RoomEventsPlugin, // SQL cannot wait for news
  RoomAnswerPlugin, // likewise
  PresencePlugin, // likewise
  UnreadCountsPlugin, // likewise
  MessageDeltasPlugin, // likewise
  CheckoutPlugin, // the payment provider is called over HTTP
  RoomPasswordsPlugin, // room passwords are checked outside SQL
  ModelKeysPlugin, // keys of model providers are sealed outside SQL
  DescriptionsPlugin, // PostgreSQL stores no comments on arguments
  NotFoundPlugin, // a mutation that row-level security blocks reports NOT_FOUND
  OwnRowsPlugin, // an OR of an own-rows policy and a permission reads the rows of all users
  PagingPlugin, // PostGraphile's paging loses rows with nulls, ties and infinities
  PageSizePlugin, // omitting `first` does not read a whole table
  OncePerOperationPlugin, // aliases give no extra guesses at a password
  QueryLimitsPlugin, // one request cannot monopolize the server
  StorableVariablesPlugin, // rejects variables that would be stored as a different value
  OneRoundTripPlugin, // begin, settings, statement and commit would each be a message
  ReadsOfOthersPlugin, // people can ask who has read their data
  ReadsByFilterPlugin, // likewise, where their data decides an answer that does not contain it
  OneSnapshotPlugin, // two fields of a query cannot contradict each other
  CompiledDocumentsPlugin, // the response of a plain read is one value of one statement
  PlanCachePlugin, // many different operations cannot exhaust the memory
];
