import { graphql, type ResultOf } from "plinth/client/graphql";

// Everything that the console asks the server. The compiler reads the results' types from these texts.

export const WHO_AM_I = graphql(`query ConsoleUser {
  currentUser { username }
  operations: hasPermission(permission: "read_operations")
  accounts: hasPermission(permission: "manage_users")
}`);

export const SYSTEM = graphql(`query ConsoleSystem($days: Int!) {
  systemState {
    observedAt
    findings { severity area problem remedy }
    queues { queue waiting active failed oldestSeconds succeededAt }
    logs { log monthsAhead }
    databaseBytes connections connectionsLimit oldestTransactionSeconds waitingForLocks hasAllSessions waitingEmails
    replicas replicaLagBytes replicaLagSeconds inactiveSlots slotBytes isArchiveFailing
  }
  signInCounts(days: $days) { startsAt succeeded failed locked accounts }
  activityCounts(days: $days) { startsAt activeAccounts newAccounts }
  tokenUseCounts(days: $days) { startsAt model currency tokens cost }
  revenueCounts(days: $days) { startsAt currency payments refunded disputed net }
  errorCounts(days: $days) { startsAt errorCode errors }
}`);
export type System = ResultOf<typeof SYSTEM>;
export type SystemState = NonNullable<System["systemState"]>;

export const INSPECT = graphql(`mutation ConsoleAccount($identifier: String!) {
  inspectAccount(input: { identifier: $identifier }) {
    result {
      userId username email accountStatus isVerified hasSecondFactor failedLoginAttempts lockedUntil lastLoginAt createdAt
      roles canBeAdministered
      sessions { id deviceName ipAddress authenticationMethods createdAt lastActivityAt expiresAt }
    }
  }
}`);
export type Account = NonNullable<NonNullable<ResultOf<typeof INSPECT>["inspectAccount"]>["result"]>;

export const UNLOCK = graphql(`mutation ConsoleUnlock($userId: UUID!) {
  unlockAccount(input: { userId: $userId }) { result { id } }
}`);
export const END_SESSIONS = graphql(`mutation ConsoleEndSessions($userId: UUID!) {
  endUserSessions(input: { userId: $userId }) { result }
}`);
