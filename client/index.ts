export type {
  Auth,
  IdentityProof,
  Registration,
  SecondFactor,
  SecondFactorChallenge,
  SignInResult,
} from "./auth/auth.ts";
export type { Answer, AnswerMessage, Piece } from "./chat/answer.ts";
export type { Chat, Question } from "./chat/chat.ts";
export type { AnswerRequest } from "./chat/start-answer.ts";
export type { ConfirmIdentity } from "./confirmation.ts";
export { type ClientOptions, createClient, type PlinthClient } from "./create-client.ts";
export type { TypedDocument } from "./document.ts";
export { type GraphqlError, PlinthClientError } from "./error.ts";
export type { PlinthErrorCode } from "./error-codes.ts";
export type { ConnectionState } from "./live/socket.ts";
export type { RequestOptions } from "./request.ts";
export type { SessionState } from "./session/session.ts";
export { memoryStorage, type TokenStorage } from "./session/storage.ts";
export type { Readable } from "./support/store.ts";
